"""Methods: one file each. METHODS are the kinds of a config; OPTIMIZERS can be used in any training script."""

from boundcheck.registry import lazy

METHODS: dict[str, str] = {
    "sgd": "boundcheck.methods.sgd:SGDMethod",
    "adamw": "boundcheck.methods.adamw:AdamWMethod",
    "asam": "boundcheck.methods.sam:ASAMMethod",
    "sam": "boundcheck.methods.sam:SAMMethod",
    "gsam": "boundcheck.methods.gsam:GSAMMethod",
    "gradient_penalty": "boundcheck.methods.gradient_penalty:GradientPenaltyMethod",
    "gam": "boundcheck.methods.gam:GAMMethod",
    "ascent_only": "boundcheck.methods.ascent_only:AscentOnlyMethod",
    "gradient_descent": "boundcheck.methods.adaptive_momentum:GradientDescentMethod",
    "adaptive_momentum": "boundcheck.methods.adaptive_momentum:AdaptiveMomentumMethod",
    "heavy_ball": "boundcheck.methods.heavy_ball:HeavyBallMethod",
    "nesterov": "boundcheck.methods.heavy_ball:NesterovMethod",
    "polyak": "boundcheck.methods.heavy_ball:PolyakMethod",
    "latent_sgd": "boundcheck.methods.latent_sgd:LatentSGDMethod",
    "latent_sgd_decoupled": "boundcheck.methods.latent_sgd:LatentDecoupledSGDMethod",
    "latent_adam": "boundcheck.methods.latent_adam:LatentAdamMethod",
    "latent_adamw": "boundcheck.methods.latent_adam:LatentAdamWMethod",
    "bop": "boundcheck.methods.bop:BopMethod",
    "gradient_filter": "boundcheck.methods.gradient_filter:GradientFilterMethod",
    "state_space_filter": "boundcheck.methods.state_space_filter:StateSpaceFilterMethod",
    "mapped_filter": "boundcheck.methods.mapped_filter:MappedFilterMethod",
    "certified_gd": "boundcheck.methods.certified_gd:CertifiedGDMethod",
}
OPTIMIZERS: dict[str, str] = {
    "sam": "boundcheck.methods.sam:SAM",
    "gsam": "boundcheck.methods.gsam:GSAM",
    "gradient_penalty": "boundcheck.methods.gradient_penalty:GradientPenalty",
    "gam": "boundcheck.methods.gam:GAM",
    "ascent_only": "boundcheck.methods.ascent_only:AscentOnly",
    "adaptive_momentum": "boundcheck.methods.adaptive_momentum:AdaptiveMomentum",
    "heavy_ball": "boundcheck.methods.heavy_ball:HeavyBall",
    "nesterov": "boundcheck.methods.heavy_ball:Nesterov",
    "latent_sgd_decoupled": "boundcheck.methods.latent_sgd:DecoupledSGD",
    "bop": "boundcheck.methods.bop:Bop",
    "gradient_filter": "boundcheck.methods.gradient_filter:GradientFilter",
    "state_space_filter": "boundcheck.methods.state_space_filter:StateSpaceFilter",
}

__getattr__ = lazy(__name__, METHODS, OPTIMIZERS)
