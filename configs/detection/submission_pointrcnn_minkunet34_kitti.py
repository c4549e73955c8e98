# Result files of a trained PointRCNN for KITTI's test server: tools/test.py with its checkpoint.
_base_ = './random_pointrcnn_minkunet34_100_kitti.py'

# The test split's scans lie elsewhere, under numbers that training frames have too, and have no labels.
test_dataloader = dict(dataset=dict(
    ann_file='kitti_infos_test.pkl', load_eval_anns=False,
    data_prefix=dict(pts='testing/velodyne_reduced', img='testing/image_2')))
test_evaluator = dict(
    _delete_=True, type='KittiSubmission', ann_file='data/kitti/kitti_infos_test.pkl',
    out_dir='work_dirs/submission_pointrcnn_minkunet34_kitti')
