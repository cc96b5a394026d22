import type { ResourceFacts } from "../../api/resource.ts";
import { formatTime } from "../../machinery/clock.ts";
import { apiVersionOf } from "../../machinery/object.ts";
import type { StatusError } from "../../machinery/status.ts";
import type { WatchChange, WatchSink } from "../verbs/watch.ts";
import { encodeItem, tableHead, type View } from "./encode.ts";
import type { FanOut, FanOutTarget } from "./fan-out.ts";
import type { Outgoing } from "./messages.ts";
import { endWith, startStream } from "./reply.ts";
import type { WatchSocket } from "./web-socket-watch.ts";

/** A watcher that lets more than this pile up is too slow: it is cut off and starts again from where it is. */
const maxBufferedBytes = 32 * 1024 * 1024;

/** Turns changes into the frames of one view. */
export class WatchEncoder {
  readonly #facts: ResourceFacts;
  readonly #view: () => View;
  readonly #key: string;
  #first = true;

  constructor(facts: ResourceFacts, view: () => View) {
    this.#facts = facts;
    this.#view = view;
    const { encoding, includeObject } = view();
    this.#key = encoding.as ? `${encoding.as}/${encoding.asVersion}/${includeObject}` : "object";
  }

  changes(changes: readonly WatchChange[]): Buffer[] {
    return changes.map(({ type, item, event }) => {
      // Only the first table of a stream describes its columns.
      const withColumns = this.#first;
      this.#first = false;
      const make = () =>
        Buffer.concat([
          Buffer.from(`{"type":"${type}","object":`),
          encodeItem(item, this.#view(), withColumns),
          Buffer.from("}\n"),
        ]);
      return event ? event.frame(`${type}/${this.#key}/${withColumns}`, make) : make();
    });
  }

  bookmark(revision: number, initial: boolean): Buffer {
    const view = this.#view();
    const metadata = {
      resourceVersion: String(revision),
      ...(initial ? { annotations: { "k8s.io/initial-events-end": "true" } } : {}),
    };
    const object =
      view.encoding.as === "Table"
        ? `${tableHead(this.#facts, view, { resourceVersion: String(revision) }, false)}${initial ? initialRow(metadata, view) : ""}]}`
        : JSON.stringify({ ...this.#typeOf(view), metadata: { ...metadata, creationTimestamp: null } });
    return Buffer.from(`{"type":"BOOKMARK","object":${object}}\n`);
  }

  error(error: StatusError): Buffer {
    return Buffer.from(`{"type":"ERROR","object":${JSON.stringify(error.toStatus())}}\n`);
  }

  #typeOf({ encoding }: View): object {
    return encoding.as === "PartialObjectMetadata"
      ? { kind: "PartialObjectMetadata", apiVersion: `meta.k8s.io/${encoding.asVersion}` }
      : { kind: this.#facts.kind, apiVersion: apiVersionOf(this.#facts) };
  }
}

/** A table has no annotations; the row's object carries the one that ends the initial events. */
function initialRow(metadata: object, view: View): string {
  const object = { kind: "PartialObjectMetadata", apiVersion: `meta.k8s.io/${view.encoding.asVersion}`, metadata };
  return JSON.stringify({
    cells: [],
    object: { ...object, metadata: { ...metadata, creationTimestamp: formatTime(0) } },
  });
}

/** Writes a watch as a stream of JSON lines. */
export function httpSink(response: Outgoing, encoder: WatchEncoder, fanOut: FanOut): WatchSink {
  const target: FanOutTarget = {
    write: (bytes) => {
      if (response.destroyed || response.writableEnded) return;
      (response.write as (chunk: Buffer) => boolean)(bytes);
      if (response.writableLength > maxBufferedBytes) response.destroy();
    },
  };
  return {
    open: () => {
      if (response.destroyed) return;
      response.statusCode = 200;
      response.setHeader("content-type", "application/json");
      response.setHeader("cache-control", "no-cache, private");
      startStream(response);
    },
    changes: (changes) => fanOut.send(target, encoder.changes(changes)),
    bookmark: (revision, initial) => fanOut.send(target, [encoder.bookmark(revision, initial)]),
    end: (error) => {
      if (error) fanOut.send(target, [encoder.error(error)]);
      if (response.destroyed) fanOut.forget(target);
      else fanOut.flush(target);
      endWith(response, "");
    },
  };
}

/** Sends a watch over a WebSocket, a message an event. */
export function webSocketSink(socket: WatchSocket, encoder: WatchEncoder): WatchSink {
  const send = (frames: readonly Buffer[]) => {
    for (const frame of frames) socket.send(frame.toString("utf8").trimEnd());
    if (socket.buffered() > maxBufferedBytes) socket.close();
  };
  return {
    open: () => {},
    changes: (changes) => send(encoder.changes(changes)),
    bookmark: (revision, initial) => send([encoder.bookmark(revision, initial)]),
    end: (error) => {
      if (error) send([encoder.error(error)]);
      socket.close();
    },
  };
}
