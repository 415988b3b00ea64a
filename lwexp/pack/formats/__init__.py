"""The built-in chat formats; importing this registers them."""

from lwexp.pack.formats import chatml as chatml
from lwexp.pack.formats import glm4 as glm4
from lwexp.pack.formats import llama31 as llama31
from lwexp.pack.formats import longwriter_llama as longwriter_llama
from lwexp.pack.formats import own as own
