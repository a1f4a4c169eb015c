"""label-studio-ml: its models as one of ours (process, child, answers), ours as one of its (groundlook_model)."""
