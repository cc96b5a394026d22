/**
 * Loaded into a process by NODE_OPTIONS: SIGUSR2 writes how late the main loop was since the last SIGUSR2, in milliseconds,
 * and what memory and processor time the process took, to /tmp/loop.json, or where K3TS_BENCH_LOOP says.
 */
import { renameSync, writeFileSync } from "node:fs";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { isMainThread } from "node:worker_threads";

const resolution = 2;
const file = process.env.K3TS_BENCH_LOOP ?? "/tmp/loop.json";

if (isMainThread) {
  const delay = monitorEventLoopDelay({ resolution });
  delay.enable();
  process.on("SIGUSR2", () => {
    const cpu = process.cpuUsage();
    // The histogram holds the whole time between two ticks of its timer; what is beyond the interval is late.
    const late = (nanoseconds) => Math.max(0, nanoseconds / 1e6 - resolution);
    const text = JSON.stringify({
      p50: late(delay.percentile(50)),
      p99: late(delay.percentile(99)),
      max: late(delay.max),
      rssBytes: process.memoryUsage.rss(),
      cpuMicros: cpu.user + cpu.system,
    });
    writeFileSync(`${file}.next`, text);
    renameSync(`${file}.next`, file);
    delay.reset();
  });
}
