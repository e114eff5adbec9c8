# Linear layers of the other side's mean in place of the fusion's attentions.
_base_ = ['full.py']
model = dict(neck=dict(reader='linear'))
