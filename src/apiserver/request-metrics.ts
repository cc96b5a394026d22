import type { Clock } from "../machinery/clock.ts";
import type { Core } from "./core.ts";
import type { RequestInfo } from "./request.ts";

const buckets = [0.005, 0.025, 0.1, 0.5, 1, 5, 30];

interface Latency {
  readonly counts: number[];
  sum: number;
  count: number;
}

/** Requests of one sort: what they asked for, and how they ended. */
interface Series {
  readonly labels: string;
  readonly code: number;
  /** Shared by all codes; absent where times mean nothing. */
  readonly latency: Latency | undefined;
  count: number;
}

/** Counts requests for /metrics. */
export class RequestMetrics {
  readonly #clock: Clock;
  readonly #series = new Map<string, Series>();
  readonly #latencies = new Map<string, Latency>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  count(info: RequestInfo | undefined, code: number, startedMs: number): void {
    // Names of what is not served come from anyone; they must not grow this table.
    const known = info?.isResource && code !== 404;
    // Short, since it is made for every request; the labels are made once.
    const key = known
      ? `${code} ${info.verb} ${info.resource} ${info.version} ${info.group} ${info.subresource ?? ""}`
      : `${code}`;
    let series = this.#series.get(key);
    if (!series) {
      series = this.#startSeries(known ? info : undefined, code);
      this.#series.set(key, series);
    }
    series.count++;
    const { latency } = series;
    if (!latency) return;
    const seconds = (this.#clock.now() - startedMs) / 1000;
    for (let index = buckets.length - 1; index >= 0 && seconds <= buckets[index]!; index--) latency.counts[index]!++;
    latency.sum += seconds;
    latency.count++;
  }

  #startSeries(info: RequestInfo | undefined, code: number): Series {
    if (!info) {
      const labels = `group="",resource="",subresource="",verb="OTHER",version=""`;
      return { labels, code, latency: undefined, count: 0 };
    }
    const { group, resource, subresource = "", verb, version } = info;
    const labels = `group="${group}",resource="${resource}",subresource="${subresource}",verb="${verb.toUpperCase()}",version="${version}"`;
    if (verb === "watch") return { labels, code, latency: undefined, count: 0 };
    const latency = this.#latencies.get(labels) ?? { counts: buckets.map(() => 0), sum: 0, count: 0 };
    this.#latencies.set(labels, latency);
    return { labels, code, latency, count: 0 };
  }

  /** Prometheus' text format. */
  text(core: Core): string {
    const lines = [
      "# HELP apiserver_request_total Requests by what they asked for and how they ended.",
      "# TYPE apiserver_request_total counter",
    ];
    for (const { labels, code, count } of this.#series.values()) {
      lines.push(`apiserver_request_total{${labels},code="${code}"} ${count}`);
    }
    lines.push(
      "# HELP apiserver_request_duration_seconds Time from a request's headers to the end of its reply.",
      "# TYPE apiserver_request_duration_seconds histogram",
    );
    for (const [labels, { counts, sum, count }] of this.#latencies) {
      for (const [index, limit] of buckets.entries()) {
        lines.push(`apiserver_request_duration_seconds_bucket{${labels},le="${limit}"} ${counts[index]}`);
      }
      lines.push(`apiserver_request_duration_seconds_bucket{${labels},le="+Inf"} ${count}`);
      lines.push(`apiserver_request_duration_seconds_sum{${labels}} ${sum}`);
      lines.push(`apiserver_request_duration_seconds_count{${labels}} ${count}`);
    }
    lines.push(
      "# HELP apiserver_storage_objects Objects by resource, of those that were read so far.",
      "# TYPE apiserver_storage_objects gauge",
    );
    const watchers: string[] = [];
    for (const cache of core.caches.all()) {
      const { group, version, resource } = cache.facts;
      lines.push(`apiserver_storage_objects{group="${group}",resource="${resource}"} ${cache.size}`);
      watchers.push(
        `apiserver_longrunning_requests{group="${group}",resource="${resource}",verb="WATCH",version="${version}"} ${cache.watcherCount}`,
      );
    }
    lines.push(
      "# HELP apiserver_longrunning_requests Watches that are open now, in-process ones included.",
      "# TYPE apiserver_longrunning_requests gauge",
      ...watchers,
    );
    const { rss, heapUsed } = process.memoryUsage();
    lines.push(
      "# HELP process_resident_memory_bytes Resident memory size in bytes.",
      "# TYPE process_resident_memory_bytes gauge",
      `process_resident_memory_bytes ${rss}`,
      "# HELP nodejs_heap_size_used_bytes Used heap size in bytes.",
      "# TYPE nodejs_heap_size_used_bytes gauge",
      `nodejs_heap_size_used_bytes ${heapUsed}`,
    );
    return `${lines.join("\n")}\n`;
  }
}
