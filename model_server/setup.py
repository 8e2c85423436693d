"""Builds the compiled modules; everything else about the distribution is in pyproject.toml."""

from Cython.Build import cythonize
from setuptools import Extension, setup

_PACKAGE = "sagebrush_server"
_FLAGS = ["-O3", "-g0", "-fwrapv", "-Wall"]

setup(
    ext_modules=cythonize(
        [
            Extension(
                f"{_PACKAGE}.codecs.number_rows",
                [f"{_PACKAGE}/codecs/number_rows.pyx"],
                # Numbers are rounded as IEEE 754 says, so nothing may be fused or reordered.
                extra_compile_args=[*_FLAGS, "-std=c++17", "-ffp-contract=off"],
            ),
            Extension(f"{_PACKAGE}.cells", [f"{_PACKAGE}/cells.pyx"], extra_compile_args=_FLAGS),
            Extension(f"{_PACKAGE}.http.quick", [f"{_PACKAGE}/http/quick.pyx"], extra_compile_args=_FLAGS),
        ],
        compiler_directives={"language_level": "3"},
        build_dir="build",
    )
)
