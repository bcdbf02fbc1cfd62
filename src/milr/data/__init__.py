"""Pictures, data sets, class splits, episodes, augmentation."""
