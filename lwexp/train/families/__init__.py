"""The paper's two model families, and one for every other decoder; importing this registers them."""

from lwexp.train.families.glm import Glm as Glm
from lwexp.train.families.llama import Llama as Llama
from lwexp.train.families.other import HuggingFace as HuggingFace
