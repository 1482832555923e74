"""How the packaged weights for real pictures are trained: on LoL and on SICE's brackets.

    python -m experiments.real_pictures.train --data=DIR --train_part=tone --output=tone.npz
    python -m experiments.real_pictures.train --data=DIR --train_part=streams
        --from_weights=tone.npz --output=all.npz

DIR holds ``our485/{low,high}`` and ``sice/SCENE/*``. The tone learns from thumbnails of whole
pictures, then the streams and the refinement learn from crops, under that tone. The stages that the
packaged weights went through are in experiments/quality/README.md.
"""
