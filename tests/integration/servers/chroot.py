"""A private copy of an unpacked server that the server takes for the whole machine."""

import contextlib
import os
import shutil
import stat
from pathlib import Path

import attrs


@attrs.frozen
class Account:
    """A system account that exists only inside the private root."""

    name: str
    uid: int


ROOT = Account("root", 0)


class PrivateRoot:
    """A folder with a server's files, accounts and devices, to be used with ``chroot``.

    Paths that are compiled into a server (its spool, its control socket, its user) are then private to one test run.
    """

    def __init__(self, path: Path, installed: Path, accounts: list[Account]) -> None:
        self.path = path
        # Programs and libraries are never written to, so links do; across file systems they are copied.
        shutil.copytree(installed, path, symlinks=True, copy_function=_link_or_copy)
        path.chmod(0o755)
        everyone = [ROOT, *accounts]
        self.write(
            "etc/passwd", "".join(f"{one.name}:x:{one.uid}:{one.uid}::/nonexistent:/bin/false\n" for one in everyone)
        )
        self.write("etc/group", "".join(f"{one.name}:x:{one.uid}:\n" for one in everyone))
        self.write("etc/hosts", "127.0.0.1 localhost mx.test\n")
        self.write("etc/resolv.conf", "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
        self.write("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\nservices: files\n")
        self.write("etc/services", "smtp 25/tcp\nlmtp 24/tcp\n")
        self.folder("tmp", mode=0o1777)
        self.folder("dev")
        self._device("null", 1, 3)
        self._device("urandom", 1, 9)

    def write(self, name: str, text: str) -> None:
        """Replace a file; what came with the server is a link and must not be written through."""
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)
        file.write_text(text)
        file.chmod(0o644)

    def folder(self, name: str, owner: Account = ROOT, group: Account = ROOT, mode: int = 0o755) -> Path:
        """Make a folder with the owner and mode that a server insists on."""
        folder = self.path / name
        folder.mkdir(parents=True, exist_ok=True)
        os.chown(folder, owner.uid, group.uid)
        folder.chmod(mode)
        return folder

    def command(self, *arguments: str) -> list[str]:
        """The command that runs a program of this root inside it."""
        chroot = shutil.which("chroot", path="/usr/sbin:/sbin:/usr/bin:/bin") or "chroot"
        return [chroot, str(self.path), *arguments]

    def _device(self, name: str, major: int, minor: int) -> None:
        device = self.path / "dev" / name
        with contextlib.suppress(OSError):
            os.mknod(device, stat.S_IFCHR | 0o666, os.makedev(major, minor))
            device.chmod(0o666)
            device.open("rb").close()
            return
        # Containers may forbid device nodes, or using them: a file that is empty, or random enough, serves a test.
        device.unlink(missing_ok=True)
        device.write_bytes(os.urandom(4096) if name == "urandom" else b"")
        device.chmod(0o666)


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
