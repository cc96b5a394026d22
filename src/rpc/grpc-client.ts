import { type ClientHttp2Session, type ClientHttp2Stream, connect, constants } from "node:http2";
import { createConnection } from "node:net";
import { type ConnectionOptions, connect as connectTls } from "node:tls";
import { type Clock, ioClock, type Timer } from "../machinery/clock.ts";
import {
  decodeMessage,
  encodeMessage,
  type Message,
  type MessageInput,
  type MessageOutput,
} from "../machinery/protobuf.ts";

/** One method of a service. */
export interface MethodDescriptor<Req extends Message = Message, Res extends Message = Message> {
  /** "/runtime.v1.RuntimeService/Version" */
  readonly path: string;
  readonly request: Req;
  readonly response: Res;
}

/** Where the server is: a unix socket, or an address with TLS (or without, for tests on loopback). */
export type GrpcTarget =
  | { readonly socketPath: string }
  | { readonly host: string; readonly port: number; readonly tls?: ConnectionOptions };

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

/** A call that did not end with OK. `message` is the server's text, or what broke. */
export class GrpcError extends Error {
  readonly code: GrpcCode;
  constructor(code: GrpcCode, message: string) {
    super(message);
    this.name = "GrpcError";
    this.code = code;
  }
}

/** An open bidirectional call. */
export interface BidiCall<Req extends Message, Res extends Message> {
  write(request: MessageInput<Req>): void;
  /** Says that no more requests follow. */
  end(): void;
  readonly responses: AsyncIterable<MessageOutput<Res>>;
}

/** A reply larger than this ends the call: a broken peer must not take all memory. */
const largestMessageBytes = 64 * 1024 * 1024;

function frame(payload: Buffer): Buffer {
  const framed = Buffer.allocUnsafe(payload.length + 5);
  framed[0] = 0;
  framed.writeUInt32BE(payload.length, 1);
  payload.copy(framed, 5);
  return framed;
}

/** A gRPC client over one HTTP/2 connection, made at the first call and made again after it broke. */
export class GrpcClient {
  readonly #target: GrpcTarget;
  readonly #clock: Clock;
  #session: ClientHttp2Session | undefined;
  #closed = false;

  constructor(target: GrpcTarget, options: { clock?: Clock } = {}) {
    this.#target = target;
    this.#clock = options.clock ?? ioClock;
  }

  /** One request, one reply. Rejects with a {@link GrpcError}. */
  async unary<Req extends Message, Res extends Message>(
    method: MethodDescriptor<Req, Res>,
    request: MessageInput<Req>,
    options: CallOptions = {},
  ): Promise<MessageOutput<Res>> {
    let reply: MessageOutput<Res> | undefined;
    for await (const value of this.stream(method, request, options)) reply = value;
    if (!reply) throw new GrpcError("INTERNAL", `${method.path}: the server sent no reply`);
    return reply;
  }

  /** One request, many replies. Leaving the loop cancels the call. */
  stream<Req extends Message, Res extends Message>(
    method: MethodDescriptor<Req, Res>,
    request: MessageInput<Req>,
    options: CallOptions = {},
  ): AsyncIterable<MessageOutput<Res>> {
    const body = frame(encodeMessage(method.request, request));
    return { [Symbol.asyncIterator]: () => this.#call(method, options, (stream) => stream.end(body)).replies };
  }

  /** Many requests, many replies. The call begins at once. */
  bidi<Req extends Message, Res extends Message>(
    method: MethodDescriptor<Req, Res>,
    options: CallOptions = {},
  ): BidiCall<Req, Res> {
    const call = this.#call(method, options, () => {});
    return {
      write: (request) => void call.stream?.write(frame(encodeMessage(method.request, request))),
      end: () => void call.stream?.end(),
      responses: { [Symbol.asyncIterator]: () => call.replies },
    };
  }

  /** Ends all calls with UNAVAILABLE. Further calls fail. */
  close(): void {
    this.#closed = true;
    this.#session?.destroy();
    this.#session = undefined;
  }

  #connection(): ClientHttp2Session {
    const open = this.#session;
    if (open && !open.closed && !open.destroyed) return open;
    const target = this.#target;
    const session = connect("socketPath" in target || !target.tls ? "http://localhost" : "https://localhost", {
      createConnection: () => {
        if ("socketPath" in target) return createConnection({ path: target.socketPath });
        if (!target.tls) return createConnection({ host: target.host, port: target.port });
        return connectTls({ host: target.host, port: target.port, ALPNProtocols: ["h2"], ...target.tls });
      },
    });
    const forget = () => {
      if (this.#session === session) this.#session = undefined;
    };
    // The calls on the session report what broke; without a listener the process would end.
    session.on("error", forget);
    session.on("close", forget);
    session.on("goaway", forget);
    this.#session = session;
    return session;
  }

  #call<Req extends Message, Res extends Message>(
    method: MethodDescriptor<Req, Res>,
    options: CallOptions,
    start: (stream: ClientHttp2Stream) => void,
  ): { stream: ClientHttp2Stream | undefined; replies: AsyncIterableIterator<MessageOutput<Res>> } {
    const queue: MessageOutput<Res>[] = [];
    let failure: GrpcError | undefined;
    let done = false;
    let wake: (() => void) | undefined;
    let stream: ClientHttp2Stream | undefined;
    let timer: Timer | undefined;

    const finish = (error?: GrpcError) => {
      if (done) return;
      done = true;
      failure = error;
      timer?.cancel();
      options.signal?.removeEventListener("abort", cancel);
      if (error && stream && !stream.destroyed) stream.close(constants.NGHTTP2_CANCEL);
      wake?.();
    };
    const cancel = () => finish(new GrpcError("CANCELLED", `${method.path}: cancelled`));

    if (this.#closed) finish(new GrpcError("UNAVAILABLE", `${method.path}: the client is closed`));
    else if (options.signal?.aborted) cancel();
    else {
      const headers: Record<string, string> = {
        ":method": "POST",
        ":path": method.path,
        "content-type": "application/grpc",
        te: "trailers",
        ...options.metadata,
      };
      if (options.timeoutMs !== undefined) headers["grpc-timeout"] = `${Math.ceil(options.timeoutMs)}m`;
      stream = this.#connection().request(headers, { endStream: false });
      this.#receive(
        method,
        stream,
        (value) => {
          queue.push(value);
          // The reader is slower than the server: let HTTP/2's flow control hold the server back.
          if (queue.length > 64) stream?.pause();
          wake?.();
        },
        finish,
      );
      if (options.timeoutMs !== undefined)
        timer = this.#clock.after(options.timeoutMs, () =>
          finish(new GrpcError("DEADLINE_EXCEEDED", `${method.path}: no reply after ${options.timeoutMs} ms`)),
        );
      options.signal?.addEventListener("abort", cancel, { once: true });
      start(stream);
    }

    const replies: AsyncIterableIterator<MessageOutput<Res>> = {
      [Symbol.asyncIterator]: () => replies,
      async next() {
        for (;;) {
          const value = queue.shift();
          if (value !== undefined) {
            if (queue.length < 16) stream?.resume();
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
        cancel();
        failure = undefined;
        queue.length = 0;
        return { value: undefined, done: true };
      },
    };
    return { stream, replies };
  }

  #receive<Req extends Message, Res extends Message>(
    method: MethodDescriptor<Req, Res>,
    stream: ClientHttp2Stream,
    onValue: (value: MessageOutput<Res>) => void,
    finish: (error?: GrpcError) => void,
  ): void {
    let buffered: Buffer = Buffer.alloc(0);
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
    stream.on("data", (chunk: Buffer) => {
      buffered = buffered.length === 0 ? chunk : Buffer.concat([buffered, chunk]);
      try {
        while (buffered.length >= 5) {
          const size = buffered.readUInt32BE(1);
          if (buffered[0] !== 0) throw new Error("the server sent a compressed message, which was not asked for");
          if (size > largestMessageBytes) throw new Error(`a message of ${size} bytes is too large`);
          if (buffered.length < size + 5) break;
          onValue(decodeMessage(method.response, buffered.subarray(5, 5 + size)));
          buffered = buffered.subarray(5 + size);
        }
      } catch (error) {
        finish(new GrpcError("INTERNAL", `${method.path}: ${(error as Error).message}`));
      }
    });
    stream.on("error", (error) => {
      broken = error;
    });
    stream.on("close", () => {
      const number = status["grpc-status"];
      if (number === undefined) {
        const why = broken?.message ?? `the connection was closed (code ${stream.rstCode})`;
        return finish(new GrpcError("UNAVAILABLE", `${method.path}: ${why}`));
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
