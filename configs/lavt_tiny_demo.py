# LAVT tiny, from scratch, on the embedded data set with the budget of rs2sam2_tiny_demo.py.
# Two CPU processes: tools/dist_train.sh configs/lavt_tiny_demo.py 2
_base_ = [
    '_base_/default_runtime.py',
    '_base_/models/lavt_tiny.py',
    '_base_/datasets/synthetic_one_view.py',
    '_base_/schedules/adamw_scratch_bert.py',
]
