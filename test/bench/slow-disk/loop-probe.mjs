/**
 * Loaded into a process by NODE_OPTIONS: SIGUSR2 writes how late the main loop was since the last SIGUSR2, in milliseconds,
 * to /tmp/loop.json.
 */
import { renameSync, writeFileSync } from "node:fs";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { isMainThread } from "node:worker_threads";

const resolution = 2;

if (isMainThread) {
  const delay = monitorEventLoopDelay({ resolution });
  delay.enable();
  process.on("SIGUSR2", () => {
    // The histogram holds the whole time between two ticks of its timer; what is beyond the interval is late.
    const late = (nanoseconds) => Math.max(0, nanoseconds / 1e6 - resolution);
    const text = JSON.stringify({
      p50: late(delay.percentile(50)),
      p99: late(delay.percentile(99)),
      max: late(delay.max),
    });
    writeFileSync("/tmp/loop.json.next", text);
    renameSync("/tmp/loop.json.next", "/tmp/loop.json");
    delay.reset();
  });
}
