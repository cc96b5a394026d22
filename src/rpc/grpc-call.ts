import type { Clock, Timer } from "../machinery/clock.ts";
import { decodeMessage, type Message, type MessageOutput } from "../machinery/protobuf.ts";
import { type GrpcCode, GrpcError, grpcCodes } from "./grpc-error.ts";
import { FrameReader, OversizeError } from "./grpc-frames.ts";
import type { GrpcSession } from "./grpc-session.ts";
import type { Field, Headers } from "./hpack.ts";
import type { Http2Stream, StreamError, StreamReader } from "./http2-stream.ts";

/** One method of a service. */
export interface MethodDescriptor<Req extends Message = Message, Res extends Message = Message> {
  /** "/runtime.v1.RuntimeService/Version" */
  readonly path: string;
  readonly request: Req;
  readonly response: Res;
}

export interface CallOptions {
  /** The call fails with DEADLINE_EXCEEDED after this long. Absent: no deadline. */
  readonly timeoutMs?: number;
  /** Aborting cancels the call on both sides; it rejects with CANCELLED. */
  readonly signal?: AbortSignal;
  readonly metadata?: Readonly<Record<string, string>>;
}

/** Who takes what a call brings. */
export interface CallReceiver<T> {
  onValue(value: T): void;
  /** Called once, last. */
  onEnd(error: GrpcError | undefined): void;
}

interface CallPlace {
  readonly clock: Clock;
  readonly largestMessageBytes: number;
  /** Undefined when the client is closed. */
  readonly session: GrpcSession | undefined;
}

/** One call, from its headers to its status. */
export class GrpcCall<Res extends Message> implements StreamReader {
  readonly #method: MethodDescriptor<Message, Res>;
  readonly #options: CallOptions;
  readonly #receiver: CallReceiver<MessageOutput<Res>>;
  readonly #frames: FrameReader;
  #stream: Http2Stream | undefined;
  /** What is sent when there is a stream. */
  #early: { readonly bytes: Buffer; readonly end: boolean }[] = [];
  #timer: Timer | undefined;
  #status: Headers | undefined;
  #done = false;

  constructor(
    method: MethodDescriptor<Message, Res>,
    options: CallOptions,
    receiver: CallReceiver<MessageOutput<Res>>,
    { clock, largestMessageBytes, session }: CallPlace,
  ) {
    this.#method = method;
    this.#options = options;
    this.#receiver = receiver;
    this.#frames = new FrameReader(largestMessageBytes);
    const { timeoutMs, signal } = options;
    if (!session || signal?.aborted) {
      // The caller has no call yet to hear of it.
      queueMicrotask(() => (session ? this.cancel() : this.#fail("UNAVAILABLE", "the client is closed")));
      return;
    }
    session.whenReady(
      () => this.#begin(session),
      (error) => this.#fail("UNAVAILABLE", error?.message ?? "the connection was closed", error),
    );
    if (timeoutMs !== undefined)
      this.#timer = clock.after(timeoutMs, () =>
        this.#fail("DEADLINE_EXCEEDED", `no reply after ${Math.ceil(timeoutMs)} ms`),
      );
    signal?.addEventListener("abort", this.cancel, { once: true });
  }

  /** @param bytes framed messages @param end whether nothing follows */
  send(bytes: Buffer, end: boolean): void {
    if (this.#done) return;
    if (this.#stream) this.#stream.send(bytes, end);
    else this.#early.push({ bytes, end });
  }

  pause(): void {
    this.#stream?.pause();
  }

  resume(): void {
    this.#stream?.resume();
  }

  readonly cancel = (): void => this.#fail("CANCELLED", "cancelled");

  onHeaders(headers: Headers): void {
    const code = headers.get(":status");
    if (headers.has("grpc-status")) this.#status = headers;
    else if (code !== undefined && !code.startsWith("1") && code !== "200")
      this.#fail("UNAVAILABLE", `the server answered HTTP status ${code}`);
  }

  onData(piece: Buffer): void {
    if (this.#done) return;
    try {
      this.#frames.push(piece, (bytes) => {
        const value = decodeMessage(this.#method.response, bytes);
        if (!this.#done) this.#receiver.onValue(value);
      });
    } catch (error) {
      this.#fail(error instanceof OversizeError ? "RESOURCE_EXHAUSTED" : "INTERNAL", (error as Error).message);
    }
  }

  /** Ends the call as its trailers say, or by what broke when there are none. */
  onClose(error: StreamError | undefined): void {
    const number = this.#status?.get("grpc-status");
    if (number === undefined) {
      const why = error?.message ?? "the server ended the call without a status";
      // Why the connection broke stands behind.
      this.#finish(this.#error("UNAVAILABLE", why, error?.unsent ?? false, error?.cause));
    } else if (Number(number) === 0) this.#finish();
    else this.#finish(new GrpcError(grpcCodes[Number(number)] ?? "UNKNOWN", textOf(this.#status!)));
  }

  #begin(session: GrpcSession): void {
    if (this.#done) return;
    const { timeoutMs, metadata } = this.#options;
    const once: Field[] = timeoutMs === undefined ? [] : [["grpc-timeout", `${Math.ceil(timeoutMs)}m`]];
    this.#stream = session.request(this.#method.path, metadata ? Object.entries(metadata) : [], once, this);
    for (const { bytes, end } of this.#early) this.#stream.send(bytes, end);
    this.#early = [];
  }

  #fail(code: GrpcCode, why: string, cause?: unknown): void {
    this.#finish(this.#error(code, why, this.#stream === undefined, cause));
  }

  #error(code: GrpcCode, why: string, unsent: boolean, cause: unknown): GrpcError {
    return new GrpcError(code, `${this.#method.path}: ${why}`, { unsent, cause });
  }

  #finish(error?: GrpcError): void {
    if (this.#done) return;
    this.#done = true;
    this.#early = [];
    this.#timer?.cancel();
    this.#options.signal?.removeEventListener("abort", this.cancel);
    // It does nothing where the stream has ended by itself.
    if (error) this.#stream?.cancel();
    this.#receiver.onEnd(error);
  }
}

function textOf(status: Headers): string {
  const text = status.get("grpc-message") ?? "";
  try {
    return decodeURIComponent(text);
  } catch {
    // A server that does not percent-encode: its text as it is.
    return text;
  }
}
