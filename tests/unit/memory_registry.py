"""A storage in memory for the registry's protocol logic."""

from onggi.registry.server import names
from onggi.registry.server.storage import Blob, Stored, WrongDigest


class MemoryUpload:
    """One upload; ``ended`` counts how it ended."""

    def __init__(self, storage, repository):
        self.storage, self.repository, self.data, self.cancelled = storage, repository, bytearray(), False

    @property
    def offset(self):
        return len(self.data)

    async def append(self, pieces):
        async for piece in pieces:
            self.data += piece

    async def finish(self, digest):
        if names.digest_of(bytes(self.data), digest) != digest:
            raise WrongDigest(digest)
        self.storage.blobs[self.repository, digest] = bytes(self.data)

    async def cancel(self):
        self.cancelled = True


class MemoryStorage:
    """Blobs, documents and tags in dictionaries."""

    def __init__(self):
        self.blobs, self.documents, self.names, self.uploads = {}, {}, {}, []

    async def blob(self, repository, digest):
        data = self.blobs.get((repository, digest))
        if data is None:
            return None

        async def read(start, end):
            yield data[start:end]

        return Blob(len(data), read)

    async def mount(self, repository, digest, source):
        for (owner, known), data in list(self.blobs.items()):
            if known == digest and (not source or owner == source):
                self.blobs[repository, digest] = data
                return True
        return False

    async def unlink(self, repository, digest):
        return self.blobs.pop((repository, digest), None) is not None

    async def upload(self, repository):
        self.uploads.append(MemoryUpload(self, repository))
        return self.uploads[-1]

    async def manifest(self, repository, reference):
        document = self.documents.get((repository, self.names.get((repository, reference), reference)))
        return Stored(document.digest, document.media_type, document.data) if document else None

    async def keep(self, repository, document, tags):
        missing = [it for it in document.blobs if (repository, it) not in self.blobs]
        missing += [it for it in document.manifests if (repository, it) not in self.documents]
        if not missing:
            self.documents[repository, document.digest] = document
            self.names.update({(repository, tag): document.digest for tag in tags})
        return missing

    async def untag(self, repository, tag):
        return self.names.pop((repository, tag), None) is not None

    async def remove(self, repository, digest):
        for key in [it for it, named in self.names.items() if it[0] == repository and named == digest]:
            del self.names[key]
        return self.documents.pop((repository, digest), None) is not None

    async def tags(self, repository):
        if repository not in await self.repositories():
            return None
        return sorted(tag for owner, tag in self.names if owner == repository)

    async def referrers(self, repository, digest):
        found = [it for (owner, _), it in self.documents.items() if owner == repository]
        return sorted((it.referrer() for it in found if it.subject == digest), key=lambda it: it.digest)

    async def repositories(self):
        return sorted({owner for owner, _ in (*self.blobs, *self.documents)})
