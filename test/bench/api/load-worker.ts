/** The process that loads a server, so that its work and the server's do not hold each other up. Told what to do by IPC. */
import { writeFileSync } from "node:fs";
import { performance } from "node:perf_hooks";
import { Delays } from "./delays.ts";
import type { Lanes, LoadReplies, LoadRequest, RequestPattern } from "./load-messages.ts";
import type { RawConnection, RawTarget } from "./raw-connection.ts";
import { connectHttp1 } from "./raw-http1.ts";
import { connectHttp2 } from "./raw-http2.ts";

type Told<K extends LoadRequest["do"]> = Extract<LoadRequest, { do: K }>;

/** Milliseconds since the epoch with a fraction, the same in all processes of a machine. */
const nowMs = () => performance.timeOrigin + performance.now();
/** Handshakes at a time: a server is to be loaded with requests, not with these. */
const connectTogether = 20;
const deliveryTimeoutMs = 60_000;
/** A server that is behind by more gets no further changes until it has caught up. */
const openChangesMax = 500;

let failure: Error | undefined;
let fail: (error: Error) => void = () => {};

function onError(error: Error): void {
  failure ??= error;
  fail(error);
}

async function connectAll(target: RawTarget, protocol: Lanes["protocol"], count: number): Promise<RawConnection[]> {
  const connect = protocol === "HTTP/2" ? connectHttp2 : connectHttp1;
  const all: RawConnection[] = [];
  while (all.length < count) {
    const some = Math.min(connectTogether, count - all.length);
    all.push(...(await Promise.all(Array.from({ length: some }, () => connect(target, onError)))));
  }
  return all;
}

/** Runs `work` until it calls one of its arguments; an error of any connection ends it, too. */
function until<T>(work: (done: (value: T) => void, reject: (error: Error) => void) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    if (failure) return reject(failure);
    fail = reject;
    work(resolve, reject);
  });
}

const fill = (text: string, number: number) => text.replaceAll("%", String(number));

async function load(told: Told<"load">): Promise<LoadReplies["load"]> {
  const { lanes, pattern, from, seconds = Number.POSITIVE_INFINITY, count = Number.POSITIVE_INFINITY } = told;
  const connections = await connectAll(told.target, lanes.protocol, lanes.connections);
  const delays = new Delays();
  let sent = 0;
  let done = 0;
  const startedMs = nowMs();
  const endMs = startedMs + seconds * 1000;
  let inTime = 0;
  await until<void>((finish, reject) => {
    let open = 0;
    const next = (connection: RawConnection) => {
      if (sent >= count || nowMs() >= endMs) {
        if (open === 0) finish();
        return;
      }
      const request = requestOf(pattern, from + sent++);
      const sentMs = nowMs();
      open++;
      connection.send(request, {
        end: (ok) => {
          if (!ok) return reject(new Error(`${request.method} ${request.path} was refused`));
          open--;
          done++;
          const ms = nowMs();
          if (ms <= endMs) inTime++;
          delays.add(ms - sentMs);
          next(connection);
        },
      });
    };
    for (const connection of connections) for (let i = 0; i < lanes.streams; i++) next(connection);
  });
  const tookSeconds = Number.isFinite(seconds) ? seconds : (nowMs() - startedMs) / 1000;
  for (const connection of connections) connection.close();
  return { perSecond: inTime / tookSeconds, done, p50Ms: delays.quantile(0.5), p99Ms: delays.quantile(0.99) };
}

function requestOf({ method, path, body, modulo }: RequestPattern, index: number) {
  const number = modulo === undefined ? index : index % modulo;
  return { method, path: fill(path, number), ...(body === undefined ? {} : { body: fill(body, number) }) };
}

async function fetchOften({ target, lanes, path, times, saveAs }: Told<"fetch">): Promise<LoadReplies["fetch"]> {
  const [connection] = await connectAll(target, lanes.protocol, 1);
  const ms: number[] = [];
  let bytes = 0;
  for (let round = 0; round < times; round++) {
    const keep: Buffer[] | undefined = saveAs !== undefined && round === times - 1 ? [] : undefined;
    const startedMs = nowMs();
    bytes = 0;
    await until<void>((done, reject) => {
      connection!.send(
        { method: "GET", path },
        {
          data: (piece) => {
            bytes += piece.length;
            keep?.push(Buffer.from(piece));
          },
          end: (ok) => (ok ? done() : reject(new Error(`GET ${path} was refused`))),
        },
      );
    });
    ms.push(nowMs() - startedMs);
    if (keep) writeFileSync(saveAs!, Buffer.concat(keep));
  }
  connection!.close();
  return { ms, bytes };
}

const marker = Buffer.from('"at":"');
/** Digits of the time that follows the marker: milliseconds since the epoch with three decimals. */
const timeLength = 17;

/** Counts the events of one watch by the times in them, and notes how old those are. */
class WatchCounter {
  count = 0;
  #carry: Buffer | undefined;
  readonly #delays: Delays;

  constructor(delays: Delays) {
    this.#delays = delays;
  }

  take(piece: Buffer): void {
    const bytes = this.#carry ? Buffer.concat([this.#carry, piece]) : piece;
    const ms = nowMs();
    let at = 0;
    for (;;) {
      const found = bytes.indexOf(marker, at);
      const end = found + marker.length + timeLength;
      if (found < 0 || end > bytes.length) {
        // What is cut off here goes on in the next piece.
        const from = found < 0 ? Math.max(at, bytes.length - marker.length + 1) : found;
        this.#carry = from < bytes.length ? Buffer.from(bytes.subarray(from)) : undefined;
        return;
      }
      this.count++;
      this.#delays.add(ms - Number(bytes.toString("latin1", end - timeLength, end)));
      at = end;
    }
  }
}

let watching: RawConnection[] = [];
let counters: WatchCounter[] = [];
const delivery = new Delays();

async function watch(told: Told<"watch">): Promise<LoadReplies["watch"]> {
  const connections = await connectAll(told.target, "HTTP/2", told.connections);
  watching.push(...connections);
  let index = 0;
  for (const connection of connections) {
    // One connection after another, so that the server gets to other things in between.
    await until<void>((done, reject) => {
      let left = told.streams;
      for (let i = 0; i < told.streams; i++) {
        const path = told.paths[index++ % told.paths.length]!;
        const counter = new WatchCounter(delivery);
        counters.push(counter);
        connection.send(
          { method: "GET", path },
          {
            open: (ok) => {
              if (!ok) return reject(new Error(`GET ${path} was refused`));
              if (--left === 0) done();
            },
            data: (piece) => counter.take(piece),
            end: () => onError(new Error(`the watch of ${path} ended`)),
          },
        );
      }
    });
  }
  return {};
}

async function delivered({ expected }: Told<"delivered">): Promise<LoadReplies["delivered"]> {
  const endMs = nowMs() + deliveryTimeoutMs;
  while (nowMs() < endMs && counters.some(({ count }) => count < expected)) {
    if (failure) throw failure;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  const counts = counters.map(({ count }) => count);
  const [fewest, most] = [Math.min(...counts), Math.max(...counts)];
  if (fewest !== expected || most !== expected) {
    throw new Error(`${expected} changes, of which watchers saw ${fewest} to ${most}`);
  }
  const reply = {
    p50Ms: delivery.quantile(0.5),
    p99Ms: delivery.quantile(0.99),
    maxMs: delivery.quantile(1),
  };
  for (const counter of counters) counter.count = 0;
  delivery.clear();
  return reply;
}

async function change(told: Told<"change">): Promise<LoadReplies["change"]> {
  const { target, path, body, objects, perSecond, seconds } = told;
  const [connection] = await connectAll(target, "HTTP/2", 1);
  const delays = new Delays();
  const total = perSecond * seconds;
  let sent = 0;
  let answered = 0;
  await until<void>((done, reject) => {
    const startedMs = nowMs();
    const timer = setInterval(() => {
      // Those that are due: a late timer must not slow the rate.
      const due = () => sent < total && nowMs() - startedMs >= (sent * 1000) / perSecond;
      for (; due() && sent - answered < openChangesMax; sent++) {
        const sentMs = nowMs();
        const text = fill(body.replace("@", sentMs.toFixed(3)), sent % objects);
        connection!.send(
          { method: "PUT", path: fill(path, sent % objects), body: text },
          {
            end: (ok) => {
              if (!ok) return reject(new Error(`PUT ${path} was refused`));
              delays.add(nowMs() - sentMs);
              if (++answered === total) done();
            },
          },
        );
      }
      if (sent === total) clearInterval(timer);
    }, 2);
  });
  connection!.close();
  return { sent, answerP99Ms: delays.quantile(0.99) };
}

function close(): LoadReplies["close"] {
  for (const connection of watching) connection.close();
  watching = [];
  counters = [];
  delivery.clear();
  return {};
}

async function run(told: LoadRequest): Promise<LoadReplies[LoadRequest["do"]]> {
  switch (told.do) {
    case "load":
      return load(told);
    case "fetch":
      return fetchOften(told);
    case "watch":
      return watch(told);
    case "delivered":
      return delivered(told);
    case "change":
      return change(told);
    case "close":
      return close();
  }
}

process.on("message", (told: LoadRequest) => {
  run(told).then(
    (reply) => process.send!({ reply }),
    (error: Error) => process.send!({ error: error.message }),
  );
});
// Its parent is gone.
process.on("disconnect", () => process.exit());
