import type { Clock } from "../../machinery/clock.ts";
import { UnavailableError } from "../store.ts";
import type { Replies, Reply, Request } from "./messages.ts";

interface PendingCall {
  readonly do: Request["do"];
  readonly sinceMs: number;
  late?: true;
  readonly resolve: (reply: never) => void;
  readonly reject: (error: Error) => void;
}

/** These are waited for whatever time they take: what they did has to become known, or takes long by its nature. */
const waitedFor: ReadonlySet<Request["do"]> = new Set(["write", "expire", "copy", "close"]);

/**
 * Calls to the worker, which does one after the other. A disk may leave it without an answer for any time: whoever asked is
 * told so then, and whoever asks next at once, until an answer comes.
 */
export class WorkerCalls {
  readonly #clock: Clock;
  readonly #patienceMs: number;
  readonly #name: string;
  readonly #post: (message: { id: number; request: Request }, transfer: ArrayBuffer[]) => void;
  readonly #onSilence: (silent: boolean) => void;
  readonly #pending = new Map<number, PendingCall>();
  #next = 1;
  /** Opening takes the time that it takes. */
  #opened = false;
  #watching = false;
  #silentSinceMs: number | undefined;

  /**
   * @param options.clock the io clock
   * @param options.name how messages name the store
   * @param options.onSilence is told when the worker has not answered for `patienceMs`, and when it does again
   */
  constructor(options: {
    readonly clock: Clock;
    readonly patienceMs: number;
    readonly name: string;
    readonly post: (message: { id: number; request: Request }, transfer: ArrayBuffer[]) => void;
    readonly onSilence: (silent: boolean) => void;
  }) {
    this.#clock = options.clock;
    this.#patienceMs = options.patienceMs;
    this.#name = options.name;
    this.#post = options.post;
    this.#onSilence = options.onSilence;
  }

  /** That the worker does not answer, in words. */
  get silence(): string | undefined {
    if (this.#silentSinceMs === undefined) return undefined;
    const seconds = Math.floor((this.#clock.now() - this.#silentSinceMs) / 1000);
    return `etcdserver: request timed out: ${this.#name} has not answered for ${seconds} s`;
  }

  /** Rejects with UnavailableError when the worker does not answer. */
  call<K extends keyof Replies>(request: Request, transfer: ArrayBuffer[] = []): Promise<Replies[K]> {
    const { silence } = this;
    if (silence !== undefined && request.do !== "close") return Promise.reject(new UnavailableError(silence));
    return new Promise((resolve, reject) => {
      const id = this.#next++;
      this.#pending.set(id, { do: request.do, sinceMs: this.#clock.now(), resolve, reject });
      this.#post({ id, request }, transfer);
      this.#watch();
    });
  }

  /** Takes a reply; `toError` makes its error what callers get. */
  settle(reply: Reply, toError: (error: Extract<Reply, { ok: false }>["error"]) => Error): void {
    const call = this.#pending.get(reply.id);
    this.#pending.delete(reply.id);
    this.#opened = true;
    if (this.#silentSinceMs !== undefined) {
      this.#silentSinceMs = undefined;
      this.#onSilence(false);
    }
    if (!call) return;
    if (reply.ok) call.resolve(reply.reply as never);
    else call.reject(toError(reply.error));
  }

  /** The worker is gone: every call fails with what `error` makes of its kind. */
  fail(error: (asked: Request["do"]) => Error): void {
    for (const call of this.#pending.values()) call.reject(error(call.do));
    this.#pending.clear();
  }

  /** One timer for all calls, that nothing has to cancel. */
  #watch(): void {
    if (this.#watching || !this.#opened) return;
    // A copy is made beside the others.
    const oldest = [...this.#pending.values()].find((call) => call.do !== "copy" && !call.late);
    if (!oldest) return;
    this.#watching = true;
    this.#clock.after(oldest.sinceMs + this.#patienceMs - this.#clock.now(), () => {
      this.#watching = false;
      this.#tellLate();
      this.#watch();
    });
  }

  #tellLate(): void {
    const fromMs = this.#clock.now() - this.#patienceMs;
    let oldestMs: number | undefined;
    for (const call of this.#pending.values()) {
      if (call.do === "copy" || call.sinceMs > fromMs) continue;
      oldestMs ??= call.sinceMs;
      call.late = true;
    }
    if (oldestMs === undefined) return;
    if (this.#silentSinceMs === undefined) {
      this.#silentSinceMs = oldestMs;
      this.#onSilence(true);
    }
    for (const call of this.#pending.values())
      if (call.late && !waitedFor.has(call.do)) call.reject(new UnavailableError(this.silence!));
  }
}
