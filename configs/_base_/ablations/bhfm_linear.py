# Linear layers of the other side's mean in place of the fusion's attentions.
ablation = dict(neck=dict(reader='linear'))
