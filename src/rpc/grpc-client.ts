import { type Clock, ioClock } from "../machinery/clock.ts";
import { encodeMessage, type Message, type MessageInput, type MessageOutput } from "../machinery/protobuf.ts";
import { type CallOptions, type CallReceiver, GrpcCall, type MethodDescriptor } from "./grpc-call.ts";
import { GrpcError } from "./grpc-error.ts";
import { frame } from "./grpc-frames.ts";
import { GrpcSession, type GrpcTarget, type SessionOptions } from "./grpc-session.ts";

export type { CallOptions, MethodDescriptor } from "./grpc-call.ts";
export { type GrpcCode, GrpcError } from "./grpc-error.ts";

export interface GrpcClientOptions extends SessionOptions {
  readonly clock?: Clock;
  /** A reply larger than this ends the call with RESOURCE_EXHAUSTED: a broken peer must not take all memory. 64 MiB. */
  readonly largestMessageBytes?: number;
}

/** An open bidirectional call. */
export interface BidiCall<Req extends Message, Res extends Message> {
  write(request: MessageInput<Req>): void;
  /** Says that no more requests follow. */
  end(): void;
  readonly responses: AsyncIterable<MessageOutput<Res>>;
}

const defaultLargestMessageBytes = 64 * 1024 * 1024;
const nothing = Buffer.alloc(0);

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
      this.#call(method, options, receiver).send(body, true);
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
        call.send(body, true);
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
        call.send(body, false);
      },
      end: () => call.send(nothing, true),
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
  ): { call: GrpcCall<Res>; replies: AsyncIterableIterator<MessageOutput<Res>> } {
    const queue: MessageOutput<Res>[] = [];
    let failure: GrpcError | undefined;
    let done = false;
    let wake: (() => void) | undefined;
    const call = this.#call(method, options, {
      onValue(value) {
        queue.push(value);
        // The reader is slower than the server: let HTTP/2's flow control hold the server back.
        if (queue.length > 64) call.pause();
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
            if (queue.length < 16) call.resume();
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
    receiver: CallReceiver<MessageOutput<Res>>,
  ): GrpcCall<Res> {
    return new GrpcCall(method, options, receiver, {
      clock: this.#clock,
      largestMessageBytes: this.#largestMessageBytes,
      session: this.#closed ? undefined : this.#connection(),
    });
  }
}
