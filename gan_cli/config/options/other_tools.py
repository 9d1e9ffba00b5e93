"""What other tools call keys and options, and what to write in gan-cli instead."""

# For each command, the words of other tools for a key, and what to write in gan-cli.
LENGTH = "steps=... (updates of the generator; an epoch is the number of samples divided by batch_size) or budget=10m"
OF_A_CHECKPOINT = {  # of the commands that read a checkpoint
    "checkpoint model network weights run path": "ckpt=RUN", "outdir out_dir output output_dir save_dir": "out=...",
}  # fmt: skip
KEYS_OF_OTHER_TOOLS: dict[str, dict[str, str]] = {
    "train": {
        "epoch epochs n_epochs num_epochs nepoch max_epochs niter n_iter iter iters iterations max_steps num_steps"
        " total_steps kimg": LENGTH,
        "time duration max_time minutes hours": "budget=10m",
        "data_dir datadir data_path dataroot data_root path folder dir images input input_dir train_dir":
            "dataset=folder dataset.path=FOLDER",
        "bs batch batchsize batch_size_per_gpu": "batch_size=...",
        "resolution res size imgsz img_size imagesize crop_size load_size": "image_size=...",
        "channels n_channels num_channels nc": "dataset.image_channels=...",
        "gpu gpus gpu_id gpu_ids cuda use_cuda": "device=cuda device.index=0",
        "learning_rate": "optimizer.lr=...",
        "g_lr lr_g": "optimizer.generator.lr=...",
        "d_lr lr_d": "optimizer.discriminator.lr=...",
        "model arch net network": "architecture=...",
        "out out_dir outdir output_dir save_dir results_dir logdir log_dir": "output=FOLDER",
        "experiment_name exp_name run_name": "name=...",
        "checkpoint ckpt weights pretrained load_from init": "init_from=RUN, or resume=RUN to continue a run",
        "cond class_cond conditional": "conditioning=projection",
        "workers num_workers n_workers cpus": "threads=...",
        "z_dim nz latent latent_dim z": "architecture.generator.latent_dim=...",
        "ngf": "architecture.generator.base_channels=...",
        "ndf": "architecture.discriminator.base_channels=...",
        "mirror hflip horizontal_flip": "dataset.flip=true",
        "fp16 amp mixed_precision": "precision=...",
        "random_seed manual_seed manualseed": "seed=...",
        "wandb tensorboard log_to": "logger=wandb or logger=tensorboard",
        "metric metrics": "evaluation.metrics=[...]",
        "fid": "evaluation.metrics=[frechet] evaluation.extractor=inception",
        "kid": "evaluation.metrics=[kernel] evaluation.extractor=inception",
        "snap snapshot save_every save_interval": "training.checkpoint_every=...",
        "gamma": "regularizer.r1.weight=...",
    },
    "sample": OF_A_CHECKPOINT | {
        "count num number num_samples n_samples num_images samples": "n=...",
        "class classes y": "label=...",
        "trunc psi truncation_psi": "truncation=...",
        "gpu gpus cuda": "device=cuda",
        "random_seed": "seed=...",
    },
    "eval": OF_A_CHECKPOINT | {
        "metric": "metrics=[...]",
        "fid kid": "extractor=inception metrics=[frechet,kernel]",
        "num num_samples n_samples num_images samples": "n=...",
        "features": "extractor=...",
        "gpu gpus cuda": "device=cuda",
    },
    "export": OF_A_CHECKPOINT | {"type to": "format=..."},
    "project": OF_A_CHECKPOINT | {
        "target image images photo": "input=...",
        "num_steps iterations iters": "steps=...",
        "learning_rate": "lr=...",
        "class classes y": "label=...",
        "gpu gpus cuda": "device=cuda",
    },
    "direction": OF_A_CHECKPOINT | {
        "method attribute label": "by=...",
        "k num components count": "n=...",
        "gpu gpus cuda": "device=cuda",
    },
    "demo": {
        "checkpoint model network weights run path": "ckpt=RUN",
        "server_port http_port": "port=...",
        "open": "browser=true",
    },
    "report": {"ckpt run path": "gan-report RUN", "output": "out=FILE"},
    "compare": {"ckpt runs run path": "gan-compare RUN RUN"},
}  # fmt: skip
# For each group, the words of other tools for an option, and what to write in gan-cli.
OPTIONS_OF_OTHER_TOOLS = {
    "loss": {
        "wgan w": "loss=wasserstein", "wgan_gp wgan-gp wgangp": "loss=wasserstein regularizer=gradient_penalty",
        "lsgan mse": "loss=least_squares", "gan vanilla dcgan softplus logistic": "loss=non_saturating",
        "rpgan ragan": "loss=relativistic",
    },
    "dataset": {"cifar": "dataset=cifar10", "imagefolder image_folder images pictures custom": "dataset=folder"},
    "regularizer": {"gp wgan_gp wgan-gp": "regularizer=gradient_penalty", "clip clipping": "regularizer=weight_clip"},
    "architecture": {"unet u-net u_net": "architecture=pix2pix"},
    "device": {"gpu gpus": "device=cuda", "metal apple": "device=mps"},
    "conditioning": {"true yes on class label labels": "conditioning=projection", "false no off": "conditioning=none"},
}  # fmt: skip
