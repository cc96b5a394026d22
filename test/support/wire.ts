import { connect, type Socket } from "node:net";

/** Where a connection is passed on to. */
export interface WireEnd {
  readonly host: string;
  readonly port: number;
}

/** The connections between two programs of a test, which are cut and healed together. */
export class Wire {
  readonly #pairs = new Set<readonly [Socket, Socket]>();
  #state: "open" | "cut" | "stalled" = "open";

  /** Passes everything on between a connection that was accepted and a port. */
  carry(near: Socket, to: WireEnd): void {
    near.on("error", () => {});
    if (this.#state === "cut") {
      near.resetAndDestroy();
      return;
    }
    const far = connect(to.port, to.host);
    far.on("error", () => {});
    const pair = [near, far] as const;
    this.#pairs.add(pair);
    const end = () => {
      near.destroy();
      far.destroy();
      this.#pairs.delete(pair);
    };
    near.once("close", end);
    far.once("close", end);
    if (this.#state === "open") join(pair);
  }

  /** Ends every connection and refuses new ones. */
  cut(): void {
    this.#state = "cut";
    this.reset();
  }

  /** Lets nothing through any more and ends nothing, as a lost route does. */
  stall(): void {
    this.#state = "stalled";
    for (const [near, far] of this.#pairs) {
      near.unpipe(far).pause();
      far.unpipe(near).pause();
    }
  }

  heal(): void {
    if (this.#state === "stalled") for (const pair of this.#pairs) join(pair);
    this.#state = "open";
  }

  /** Ends every connection. */
  reset(): void {
    for (const [near, far] of this.#pairs) {
      near.resetAndDestroy();
      far.resetAndDestroy();
    }
  }
}

function join([near, far]: readonly [Socket, Socket]): void {
  near.pipe(far);
  far.pipe(near);
}
