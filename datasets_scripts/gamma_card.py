"""What people must know of GAMMA's training mix: sources, terms, labels and the numbers of its Table 1."""

from .corpus import CorpusCard, PaperCount

CARD = CorpusCard(
    title="GAMMA training mix",
    description="Photographs of COCO, images of COCO-Inpaint as they come and with their untouched background pasted "
    "back, and TampCOCO's copy-move and splicing, with a mask of every forged pixel and one of the AI-made pixels.",
    homepage="",
    licence="other",
    terms="COCO's photographs stand under their Flickr owners' terms; TampCOCO is CC BY 4.0 by its publishers; the "
    "terms of COCO-Inpaint are unverified, since no release was found.",
    citation="""@misc{yan2025gamma,
  title={GAMMA: Generalizable Alignment via Multi-task and Manipulation-Augmented Training for AI-Generated Image
         Detection},
  author={Yan, Haozhen and Hong, Yan and Lang, Suning and Zhan, Jiahui and Ji, Yikun and Gao, Yujie and Lan, Jun and
          Zhu, Huijia and Wang, Weiqiang and Zhang, Jianfu},
  year={2025}
}
@article{yan2025cocoinpaint,
  title={COCO-Inpaint: A Benchmark for Image Inpainting Detection and Manipulation Localization},
  author={Yan, Haozhen and Hong, Yan and Zhan, Jiahui and Ji, Yikun and Lan, Jun and Zhu, Huijia and Wang, Weiqiang and
          Zhang, Jianfu},
  journal={arXiv preprint arXiv:2504.18361},
  year={2025}
}
@article{kwon2022learning,
  title={Learning jpeg compression artifacts for image manipulation detection and localization},
  author={Kwon, M.-J. and Nam, S.-H. and Yu, I.-J. and Lee, H.-K. and Kim, C.},
  journal={IJCV},
  volume={130},
  number={8},
  pages={1875--1895},
  year={2022}
}""",
    labels="`label`, after Table 1 of the paper: inpainted and blended images are fake (1); photographs, and also "
    "copy-move and splicing, are real (0), since no network made a pixel of them. `manipulation_mask` and `mask` "
    "are the same: 1 = forged. `ai_mask`: 1 = made by a network; the whole frame if inpainted, the region if blended.",
    paper_counts=tuple(
        PaperCount("all", f"source={source}", value, "GAMMA, Table 1")
        for source, value in (
            ("coco", 117_266),
            ("coco-inpaint", 258_266),
            ("coco-blended", 258_266),
            ("tampcoco-cm", 200_000),
            ("tampcoco-sp", 200_000),
        )
    ),
)

__all__ = ["CARD"]
