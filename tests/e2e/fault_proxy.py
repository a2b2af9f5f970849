"""A bad network in user space: a TCP proxy between a device and its server
that delays, slows down, splits into single bytes, cuts, refuses, and goes
silent without a word (a half-open connection).

    proxy = FaultProxy(server_port)
    proxy.latency = 0.3; proxy.rate = 4000     # a 2G line
    proxy.cut()                                # every connection, at once
    proxy.silent = True                        # nothing passes, nothing ends
    proxy.heal()
"""

import asyncio
import random
import threading


class FaultProxy(threading.Thread):
    def __init__(self, target_port, seed=0):
        super().__init__(daemon=True)
        self.target_port = target_port
        self.rng = random.Random(seed)
        self.passed = 0  # bytes, both ways
        self.accepted = 0
        self.writers = set()
        self.heal()
        ready = threading.Event()
        self.ready = ready
        self.start()
        ready.wait(10)

    def heal(self):
        self.latency = 0.0  # seconds, each way
        self.rate = 0  # bytes a second, 0: no limit
        self.splits = False  # a byte at a time
        self.silent = False  # bytes vanish from now on
        self.refuses = False  # new connections are closed at once
        self.cut_after = 0  # bytes after which a connection is cut, 0: never

    def run(self):
        self.loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self.loop)
        server = self.loop.run_until_complete(
            asyncio.start_server(self.on_client, "127.0.0.1", 0)
        )
        self.port = server.sockets[0].getsockname()[1]
        self.ready.set()
        self.loop.run_forever()

    def stop(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.join(10)

    def cut(self):
        """End every connection with a reset."""
        self.loop.call_soon_threadsafe(self._cut)

    def _cut(self):
        for w in list(self.writers):
            w.transport.abort()

    async def on_client(self, reader, writer):
        self.accepted += 1
        if self.refuses:
            writer.transport.abort()
            return
        try:
            up = await asyncio.open_connection("127.0.0.1", self.target_port)
        except OSError:
            writer.transport.abort()
            return
        self.writers |= {writer, up[1]}
        # Bytes swallowed by a silent line are gone: such a connection never
        # speaks again, as one whose other end lost its power.
        line = {"dead": False, "passed": 0}
        await asyncio.gather(
            self.pump(reader, up[1], writer, line), self.pump(up[0], writer, up[1], line)
        )
        self.writers -= {writer, up[1]}

    async def pump(self, reader, writer, other, line):
        try:
            while data := await reader.read(1024 if self.rate else 65536):
                line["dead"] = line["dead"] or self.silent
                if line["dead"]:
                    continue
                if self.latency:
                    await asyncio.sleep(self.latency * (0.5 + self.rng.random()))
                if self.rate:
                    await asyncio.sleep(len(data) / self.rate)
                await self.send(writer, data)
                self.passed += len(data)
                line["passed"] += len(data)
                if self.cut_after and line["passed"] > self.cut_after:
                    writer.transport.abort()
                    other.transport.abort()
                    return
            if not line["dead"]:
                writer.close()
        except (OSError, RuntimeError):
            writer.transport.abort()
            other.transport.abort()

    async def send(self, writer, data):
        if not self.splits:
            writer.write(data)
            await writer.drain()
            return
        for n in range(0, len(data)):
            writer.write(data[n : n + 1])
            await writer.drain()
            await asyncio.sleep(0)
