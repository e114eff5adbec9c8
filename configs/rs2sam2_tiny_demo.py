# What `make demo` trains: every component of RS2-SAM2, tiny, from scratch, on the embedded data set.
# Two CPU processes: tools/dist_train.sh configs/rs2sam2_tiny_demo.py 2
_base_ = [
    '_base_/default_runtime.py',
    '_base_/models/rs2sam2_tiny.py',
    '_base_/datasets/synthetic.py',
    '_base_/schedules/adamw_scratch.py',
]
