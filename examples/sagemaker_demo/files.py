"""The manifests that the demo applies, as files that a user can look at."""

from dataclasses import dataclass, field
from pathlib import Path

from examples.demo.cluster import Cluster
from examples.demo.progress import say, show
from examples.demo.shell import display
from examples.sagemaker_demo import manifests


@dataclass(kw_only=True)
class Files:
    """Writes, shows and applies them."""

    cluster: Cluster
    namespace: str
    folder: Path
    texts: dict[str, str] = field(default_factory=dict)
    """As they stand now, by file name."""

    def write(self, name: str, text: str) -> None:
        """Write a file."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_text(text)
        self.texts[name] = text

    def edit(self, name: str, change: manifests.Change) -> None:
        """Change a file, and show what has changed."""
        before = self.texts[name]
        self.write(name, manifests.filled(before, [change]))
        say(f"{display(self.folder / name)}:")
        show(manifests.difference(before, self.texts[name]))

    def apply(self, *names: str) -> None:
        """Apply files as a user would."""
        files = [self.folder / name for name in names]
        say(f"$ kubectl apply -n {self.namespace} {' '.join(f'-f {display(file)}' for file in files)}")
        show(self.cluster.apply_files(files, namespace=self.namespace))

    def arguments(self, *names: str) -> list[str]:
        """Return files as arguments of kubectl."""
        return [part for name in names for part in ("-f", display(self.folder / name))]
