import type { RawTarget } from "./raw-connection.ts";

/** How a load is spread: the protocol, its connections, and the requests that each has under way. */
export interface Lanes {
  readonly protocol: "HTTP/1.1" | "HTTP/2";
  readonly connections: number;
  readonly streams: number;
}

/** Requests that differ by a number: "%" in the path or body stands for it. */
export interface RequestPattern {
  readonly method: "GET" | "POST";
  readonly path: string;
  readonly body?: string;
  /** The numbers go round from 0 to below this; absent: they go on for ever. */
  readonly modulo?: number;
}

/** What a load process can be told to do; its answers are in {@link LoadReplies}. */
export type LoadRequest =
  /** Requests without pause for a while, or until so many are done. */
  | {
      readonly do: "load";
      readonly target: RawTarget;
      readonly lanes: Lanes;
      readonly pattern: RequestPattern;
      readonly from: number;
      readonly seconds?: number;
      readonly count?: number;
    }
  /** One reply, some times after another; `saveAs` keeps the last one's body in a file. */
  | {
      readonly do: "fetch";
      readonly target: RawTarget;
      readonly lanes: Lanes;
      readonly path: string;
      readonly times: number;
      readonly saveAs?: string;
    }
  /** Opens watches, spread over connections, which stay until "close". `paths` go round. */
  | {
      readonly do: "watch";
      readonly target: RawTarget;
      readonly connections: number;
      readonly streams: number;
      readonly paths: readonly string[];
    }
  /**
   * What the open watches were delivered since they were last asked, once each has `expected` events. Fails when they do
   * not come within a minute, or when there are more.
   */
  | { readonly do: "delivered"; readonly expected: number }
  /** Changes objects at a steady rate, each with the time of its sending in `data.at`. */
  | {
      readonly do: "change";
      readonly target: RawTarget;
      readonly path: string;
      readonly body: string;
      readonly objects: number;
      readonly perSecond: number;
      readonly seconds: number;
    }
  | { readonly do: "close" };

export interface LoadReplies {
  load: { perSecond: number; done: number; p50Ms: number; p99Ms: number };
  fetch: { ms: number[]; bytes: number };
  watch: Record<string, never>;
  /** How long after the sending of a change its events came. */
  delivered: { p50Ms: number; p99Ms: number; maxMs: number };
  change: { sent: number; answerP99Ms: number };
  close: Record<string, never>;
}
