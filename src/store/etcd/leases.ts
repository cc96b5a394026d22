import type { Clock } from "../../machinery/clock.ts";

/** A lease serves keys this much longer than they asked for, at most: the API server's own figures. */
const longestReuseSeconds = 60;
const reuseShare = 0.05;
const keysPerLease = 1000;

interface Lease {
  readonly id: Promise<bigint>;
  readonly expiresAtMs: number;
  keys: number;
}

/**
 * Leases for keys with a life time. Keys that ask for the same one within a twentieth of it (a minute at most) share a
 * lease, up to a thousand: an event of the API lives an hour, and a lease each would cost etcd more than the event.
 */
export class Leases {
  readonly #grant: (ttlSeconds: number) => Promise<bigint>;
  readonly #clock: Clock;
  readonly #byLifetime = new Map<number, Lease>();

  /** @param clock the io clock: etcd counts real time */
  constructor(grant: (ttlSeconds: number) => Promise<bigint>, clock: Clock) {
    this.#grant = grant;
    this.#clock = clock;
  }

  /** A lease that lasts `ttlSeconds` from now, and little longer. Rejects when etcd does not grant one. */
  for(ttlSeconds: number): Promise<bigint> {
    const wanted = Math.max(1, Math.ceil(ttlSeconds));
    const known = this.#byLifetime.get(wanted);
    if (known && known.keys < keysPerLease && known.expiresAtMs > this.#clock.now() + wanted * 1000) {
      known.keys++;
      return known.id;
    }
    const lastsSeconds = wanted + Math.min(longestReuseSeconds, Math.floor(wanted * reuseShare));
    const lease = { id: this.#grant(lastsSeconds), expiresAtMs: this.#clock.now() + lastsSeconds * 1000, keys: 1 };
    this.#byLifetime.set(wanted, lease);
    lease.id.catch(() => this.#drop(wanted, lease));
    return lease.id;
  }

  /** etcd does not know the lease: it was revoked, or etcd was set back. The next key gets another one. */
  forget(ttlSeconds: number): void {
    this.#byLifetime.delete(Math.max(1, Math.ceil(ttlSeconds)));
  }

  #drop(wanted: number, lease: Lease): void {
    if (this.#byLifetime.get(wanted) === lease) this.#byLifetime.delete(wanted);
  }
}
