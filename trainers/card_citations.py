"""BibTeX of the five papers and of forgescope, for the cards of models."""

FORGESCOPE = """@software{forgescope,
  title={forgescope},
  author={{The forgescope authors}},
  license={Apache-2.0}
}"""
ICLNET = """@article{wang2026promptforge,
  title={PromptForge-350k: A Large-Scale Dataset and Contrastive Framework for Prompt-Based AI Image Forgery
    Localization},
  author={Wang, Jianpeng and Wang, Haoyu and Chen, Baoying and Zeng, Jishen and Qin, Yiming and Yang, Yiqi and
    Ba, Zhongjie},
  journal={arXiv preprint arXiv:2603.29386},
  year={2026}
}"""
DIFFSEG = """@article{ci2025diffseg30k,
  title={DiffSeg30k: A Multi-Turn Diffusion Editing Benchmark for Localized AIGC Detection},
  author={Ci, Hai and Peng, Ziheng and Yang, Pei and Xuan, Yingxin and Shou, Mike Zheng},
  journal={arXiv preprint arXiv:2511.19111},
  year={2025}
}"""
LEGION = """@article{kang2025legion,
  title={LEGION: Learning to Ground and Explain for Synthetic Image Detection},
  author={Kang, Hengrui and Wen, Siwei and Wen, Zichen and Ye, Junyan and Li, Weijia and Feng, Peilin and
    Zhou, Baichuan and Wang, Bin and Lin, Dahua and Zhang, Linfeng and He, Conghui},
  journal={arXiv preprint arXiv:2503.15264},
  year={2025}
}"""
FAKEREASONING = """@article{gao2025fakereasoning,
  title={FakeReasoning: Towards Generalizable Forgery Detection and Reasoning},
  author={Gao, Yueying and Chang, Dongliang and Yu, Bingyao and Qin, Haotian and Chen, Lei and Liang, Kongming and
    Ma, Zhanyu},
  journal={arXiv preprint arXiv:2503.21210},
  year={2025}
}"""
GAMMA = """@misc{yan2025gamma,
  title={GAMMA: Generalizable Alignment via Multi-task and Manipulation-Augmented Training for AI-Generated Image
    Detection},
  author={Yan, Haozhen and Hong, Yan and Lang, Suning and Zhan, Jiahui and Ji, Yikun and Gao, Yujie and Lan, Jun and
    Zhu, Huijia and Wang, Weiqiang and Zhang, Jianfu},
  year={2025}
}"""

__all__ = ["DIFFSEG", "FAKEREASONING", "FORGESCOPE", "GAMMA", "ICLNET", "LEGION"]
