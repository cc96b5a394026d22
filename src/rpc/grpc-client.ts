import { type ClientHttp2Stream, constants } from "node:http2";
import { type Clock, ioClock, type Timer } from "../machinery/clock.ts";
import {
  decodeMessage,
  encodeMessage,
  type Message,
  type MessageInput,
  type MessageOutput,
} from "../machinery/protobuf.ts";
import { FrameReader, frame, OversizeError } from "./grpc-frames.ts";
import { GrpcSession, type GrpcTarget, type SessionOptions } from "./grpc-session.ts";

export type { GrpcTarget } from "./grpc-session.ts";

/** One method of a service. */
export interface MethodDescriptor<Req extends Message = Message, Res extends Message = Message> {
  /** "/runtime.v1.RuntimeService/Version" */
  readonly path: string;
  readonly request: Req;
  readonly response: Res;
}

export interface GrpcClientOptions extends SessionOptions {
  readonly clock?: Clock;
  /** A reply larger than this ends the call with RESOURCE_EXHAUSTED: a broken peer must not take all memory. 64 MiB. */
  readonly largestMessageBytes?: number;
}

export interface CallOptions {
  /** The call fails with DEADLINE_EXCEEDED after this long. Absent: no deadline. */
  readonly timeoutMs?: number;
  /** Aborting cancels the call on both sides; it rejects with CANCELLED. */
  readonly signal?: AbortSignal;
  readonly metadata?: Readonly<Record<string, string>>;
}

/** The names of gRPC's status codes, by number. */
export const grpcCodes = [
  "OK",
  "CANCELLED",
  "UNKNOWN",
  "INVALID_ARGUMENT",
  "DEADLINE_EXCEEDED",
  "NOT_FOUND",
  "ALREADY_EXISTS",
  "PERMISSION_DENIED",
  "RESOURCE_EXHAUSTED",
  "FAILED_PRECONDITION",
  "ABORTED",
  "OUT_OF_RANGE",
  "UNIMPLEMENTED",
  "INTERNAL",
  "UNAVAILABLE",
  "DATA_LOSS",
  "UNAUTHENTICATED",
] as const;

export type GrpcCode = (typeof grpcCodes)[number];

/** A call that did not end with OK. `message` is the server's text, or what broke (which is the cause then). */
export class GrpcError extends Error {
  readonly code: GrpcCode;
  /** The server cannot have begun with it: there was no connection, or it refused the call as it came. */
  readonly unsent: boolean;
  constructor(code: GrpcCode, message: string, options: { unsent?: boolean; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.name = "GrpcError";
    this.code = code;
    this.unsent = options.unsent ?? false;
  }
}

/** An open bidirectional call. */
export interface BidiCall<Req extends Message, Res extends Message> {
  write(request: MessageInput<Req>): void;
  /** Says that no more requests follow. */
  end(): void;
  readonly responses: AsyncIterable<MessageOutput<Res>>;
}

/** Who takes what a call brings. */
interface Receiver<T> {
  onValue(value: T): void;
  /** Called once, last. */
  onEnd(error: GrpcError | undefined): void;
}

interface OpenCall {
  /** Does something with the call's stream, now or when there is one; not at all when the call ends before. */
  use(act: (stream: ClientHttp2Stream) => void): void;
  cancel(): void;
}

const defaultLargestMessageBytes = 64 * 1024 * 1024;

/** A gRPC client over one HTTP/2 connection, made at the first call and made again after it broke. */
export class GrpcClient {
  readonly #target: GrpcTarget;
  readonly #options: GrpcClientOptions;
  readonly #clock: Clock;
  readonly #largestMessageBytes: number;
  #session: GrpcSession | undefined;
  #closed = false;

  constructor(target: GrpcTarget, options: GrpcClientOptions = {}) {
    this.#target = target;
    this.#options = options;
    this.#clock = options.clock ?? ioClock;
    this.#largestMessageBytes = options.largestMessageBytes ?? defaultLargestMessageBytes;
  }

  /** One request, one reply. Rejects with a {@link GrpcError}. */
  unary<Req extends Message, Res extends Message>(
    method: MethodDescriptor<Req, Res>,
    request: MessageInput<Req>,
    options: CallOptions = {},
  ): Promise<MessageOutput<Res>> {
    return new Promise((resolve, reject) => {
      const body = frame(encodeMessage(method.request, request));
      let reply: MessageOutput<Res> | undefined;
      const receiver = {
        onValue(value: MessageOutput<Res>) {
          reply = value;
        },
        onEnd(error: GrpcError | undefined) {
          if (error) reject(error);
          else if (reply) resolve(reply);
          else reject(new GrpcError("INTERNAL", `${method.path}: the server sent no reply`));
        },
      };
      this.#call(method, options, receiver).use((stream) => stream.end(body));
    });
  }

  /** One request, many replies. Leaving the loop cancels the call. */
  stream<Req extends Message, Res extends Message>(
    method: MethodDescriptor<Req, Res>,
    request: MessageInput<Req>,
    options: CallOptions = {},
  ): AsyncIterable<MessageOutput<Res>> {
    const body = frame(encodeMessage(method.request, request));
    return {
      [Symbol.asyncIterator]: () => {
        const { call, replies } = this.#iterated(method, options);
        call.use((stream) => stream.end(body));
        return replies;
      },
    };
  }

  /** Many requests, many replies. The call begins at once. */
  bidi<Req extends Message, Res extends Message>(
    method: MethodDescriptor<Req, Res>,
    options: CallOptions = {},
  ): BidiCall<Req, Res> {
    const { call, replies } = this.#iterated(method, options);
    return {
      write(request) {
        const body = frame(encodeMessage(method.request, request));
        call.use((stream) => stream.write(body));
      },
      end: () => call.use((stream) => stream.end()),
      responses: { [Symbol.asyncIterator]: () => replies },
    };
  }

  /** Asks the server for a sign of life; without one in this time the connection is given up, and its calls fail. */
  probe(patienceMs: number): void {
    if (this.#session?.usable) this.#session.probe(patienceMs);
  }

  /** Ends all calls with UNAVAILABLE. Further calls fail. */
  close(): void {
    this.#closed = true;
    this.#session?.destroy();
    this.#session = undefined;
  }

  #connection(): GrpcSession {
    if (!this.#session?.usable) this.#session = new GrpcSession(this.#target, this.#clock, this.#options);
    return this.#session;
  }

  /** A call whose replies are read in a loop, at the reader's pace. */
  #iterated<Req extends Message, Res extends Message>(
    method: MethodDescriptor<Req, Res>,
    options: CallOptions,
  ): { call: OpenCall; replies: AsyncIterableIterator<MessageOutput<Res>> } {
    const queue: MessageOutput<Res>[] = [];
    let failure: GrpcError | undefined;
    let done = false;
    let wake: (() => void) | undefined;
    const call = this.#call(method, options, {
      onValue(value) {
        queue.push(value);
        // The reader is slower than the server: let HTTP/2's flow control hold the server back.
        if (queue.length > 64) call.use((stream) => stream.pause());
        wake?.();
      },
      onEnd(error) {
        done = true;
        failure = error;
        wake?.();
      },
    });
    const replies: AsyncIterableIterator<MessageOutput<Res>> = {
      [Symbol.asyncIterator]: () => replies,
      async next() {
        for (;;) {
          const value = queue.shift();
          if (value !== undefined) {
            if (queue.length < 16) call.use((stream) => stream.resume());
            return { value, done: false };
          }
          if (failure) {
            const error = failure;
            failure = undefined;
            throw error;
          }
          if (done) return { value: undefined, done: true };
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
      },
      async return() {
        call.cancel();
        failure = undefined;
        queue.length = 0;
        return { value: undefined, done: true };
      },
    };
    return { call, replies };
  }

  #call<Req extends Message, Res extends Message>(
    method: MethodDescriptor<Req, Res>,
    options: CallOptions,
    receiver: Receiver<MessageOutput<Res>>,
  ): OpenCall {
    let done = false;
    let stream: ClientHttp2Stream | undefined;
    let early: ((stream: ClientHttp2Stream) => void)[] = [];
    let timer: Timer | undefined;
    const { timeoutMs, signal } = options;
    const finish = (error?: GrpcError) => {
      if (done) return;
      done = true;
      early = [];
      timer?.cancel();
      signal?.removeEventListener("abort", cancel);
      if (error && stream && !stream.destroyed) stream.close(constants.NGHTTP2_CANCEL);
      receiver.onEnd(error);
    };
    // A stream has a number from when it is sent.
    const fail = (code: GrpcCode, why: string, cause?: unknown) =>
      finish(new GrpcError(code, `${method.path}: ${why}`, { unsent: stream?.id === undefined, cause }));
    const cancel = () => fail("CANCELLED", "cancelled");
    const call: OpenCall = {
      use(act) {
        if (stream) act(stream);
        else if (!done) early.push(act);
      },
      cancel,
    };

    if (this.#closed || signal?.aborted) {
      // The caller has no call yet to hear of it.
      queueMicrotask(this.#closed ? () => fail("UNAVAILABLE", "the client is closed") : cancel);
      return call;
    }
    const headers: Record<string, string> = {
      ":method": "POST",
      ":path": method.path,
      "content-type": "application/grpc",
      te: "trailers",
      ...options.metadata,
    };
    if (timeoutMs !== undefined) headers["grpc-timeout"] = `${Math.ceil(timeoutMs)}m`;
    const session = this.#connection();
    const begin = () => {
      if (done) return;
      stream = session.request(headers);
      this.#onReplies(method, stream, (value) => done || receiver.onValue(value), finish);
      this.#onStatus(stream, finish, fail);
      for (const act of early) act(stream);
    };
    session.whenReady(begin, (error) => fail("UNAVAILABLE", error?.message ?? "the connection was closed", error));
    if (timeoutMs !== undefined)
      timer = this.#clock.after(timeoutMs, () =>
        fail("DEADLINE_EXCEEDED", `no reply after ${Math.ceil(timeoutMs)} ms`),
      );
    signal?.addEventListener("abort", cancel, { once: true });
    return call;
  }

  #onReplies<Res extends Message>(
    method: MethodDescriptor<Message, Res>,
    stream: ClientHttp2Stream,
    onValue: (value: MessageOutput<Res>) => void,
    finish: (error: GrpcError) => void,
  ): void {
    const frames = new FrameReader(this.#largestMessageBytes);
    let failed = false;
    stream.on("data", (piece: Buffer) => {
      if (failed) return;
      try {
        frames.push(piece, (bytes) => onValue(decodeMessage(method.response, bytes)));
      } catch (error) {
        failed = true;
        const code = error instanceof OversizeError ? "RESOURCE_EXHAUSTED" : "INTERNAL";
        finish(new GrpcError(code, `${method.path}: ${(error as Error).message}`));
      }
    });
  }

  /** Ends a call as its trailers say, or by what broke when there are none. */
  #onStatus(
    stream: ClientHttp2Stream,
    finish: (error?: GrpcError) => void,
    fail: (code: GrpcCode, why: string, cause?: unknown) => void,
  ): void {
    let broken: Error | undefined;
    let status: Record<string, unknown> = {};
    stream.on("response", (headers) => {
      if (headers["grpc-status"] !== undefined) status = headers;
      else if (headers[":status"] !== 200)
        status = { "grpc-status": "14", "grpc-message": `the server answered HTTP status ${headers[":status"]}` };
    });
    stream.on("trailers", (headers) => {
      status = headers;
    });
    stream.on("error", (error) => {
      // That the connection broke is said of the call; why stands behind.
      broken = error.cause instanceof Error ? error.cause : error;
    });
    stream.on("close", () => {
      const number = status["grpc-status"];
      if (number === undefined) {
        const why = broken?.message ?? `the connection was closed (code ${stream.rstCode})`;
        if (stream.rstCode === constants.NGHTTP2_REFUSED_STREAM)
          return finish(new GrpcError("UNAVAILABLE", why, { unsent: true }));
        return fail("UNAVAILABLE", why, broken);
      }
      if (Number(number) === 0) return finish();
      let text = String(status["grpc-message"] ?? "");
      try {
        text = decodeURIComponent(text);
      } catch {
        // A server that does not percent-encode: its text as it is.
      }
      finish(new GrpcError(grpcCodes[Number(number)] ?? "UNKNOWN", text));
    });
  }
}
