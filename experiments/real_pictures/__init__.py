"""How the packaged weights for real pictures are trained: on LoL, SICE's brackets and more.

    python -m experiments.real_pictures.train --data=DIR --train_part=tone --output=tone.npz
    python -m experiments.real_pictures.train --data=DIR --train_part=streams
        --from_weights=tone.npz --output=all.npz

DIR holds ``our485/{low,high}`` and ``sice/SCENE/*``, and may hold ``photographs`` and ``brackets``
(``data/README.md``). The tone learns from thumbnails of whole pictures, then the streams and the
refinement learn from crops, under that tone. The stages that the packaged weights went through are
in experiments/quality/README.md.
"""
