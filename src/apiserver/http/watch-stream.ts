import type { ResourceFacts } from "../../api/resource.ts";
import { formatTime } from "../../machinery/clock.ts";
import type { StatusError } from "../../machinery/status.ts";
import { encodeMessage } from "../protobuf/encode-message.ts";
import type { WatchChange, WatchSink } from "../verbs/watch.ts";
import { encodeItem, tableHead, typeIn, type View } from "./encode.ts";
import type { FanOut, FanOutTarget } from "./fan-out.ts";
import {
  encodeKubernetesProtobuf,
  encodePartialMetadata,
  envelop,
  frameHeaderBytes,
  protobufType,
  watchFrame,
} from "./kubernetes-protobuf.ts";
import type { Outgoing } from "./messages.ts";
import { endWith, startStream } from "./reply.ts";
import type { WatchSocket } from "./web-socket-watch.ts";

/** A watcher that lets more than this pile up is too slow: it is cut off and starts again from where it is. */
const maxBufferedBytes = 32 * 1024 * 1024;

/** The frames of changes that many watchers share, by their form. */
const encoded = new WeakMap<readonly WatchChange[], Map<string, readonly Buffer[]>>();

/** Turns changes into the frames of one view. */
export class WatchEncoder {
  readonly #facts: ResourceFacts;
  readonly #view: () => View;
  readonly #key: string;
  /** Frames are protobuf, each with its length before it, instead of lines of JSON. */
  readonly binary: boolean;
  readonly #isTable: boolean;
  #first = true;

  constructor(facts: ResourceFacts, view: () => View) {
    this.#facts = facts;
    this.#view = view;
    const { encoding, includeObject } = view();
    this.binary = encoding.type === "protobuf";
    const form = encoding.as ? `${encoding.as}/${encoding.asVersion}/${includeObject}` : "object";
    this.#key = `${encoding.type}/${form}`;
    this.#isTable = encoding.as === "Table";
  }

  get contentType(): string {
    return this.binary ? `${protobufType};stream=watch` : "application/json";
  }

  changes(changes: readonly WatchChange[]): readonly Buffer[] {
    // Only the first table of a stream describes its columns.
    const withColumns = this.#first && this.#isTable;
    this.#first = false;
    if (withColumns) return changes.map((change, index) => this.#change(change, index === 0));
    let byForm = encoded.get(changes);
    if (!byForm) {
      byForm = new Map();
      encoded.set(changes, byForm);
    }
    let frames = byForm.get(this.#key);
    if (!frames) {
      frames = changes.map((change) => this.#change(change, false));
      byForm.set(this.#key, frames);
    }
    return frames;
  }

  #change({ type, item, event }: WatchChange, withColumns: boolean): Buffer {
    const make = () => this.#frame(type, encodeItem(item, this.#view(), withColumns));
    return event ? event.frame(`${type}/${this.#key}/${withColumns}`, make) : make();
  }

  bookmark(revision: number, initial: boolean): Buffer {
    const view = this.#view();
    const metadata = {
      resourceVersion: String(revision),
      ...(initial ? { annotations: { "k8s.io/initial-events-end": "true" } } : {}),
    };
    const type = typeIn(view, this.#facts);
    if (this.binary) {
      const partial = view.encoding.as === "PartialObjectMetadata";
      const message = partial ? encodePartialMetadata({ metadata }) : encodeMessage(this.#facts.schema, { metadata });
      return watchFrame("BOOKMARK", envelop(type.apiVersion, type.kind, message));
    }
    const object =
      view.encoding.as === "Table"
        ? `${tableHead(this.#facts, view, { resourceVersion: String(revision) }, false)}${initial ? initialRow(metadata, view) : ""}]}`
        : JSON.stringify({ ...type, metadata: { ...metadata, creationTimestamp: null } });
    return this.#frame("BOOKMARK", Buffer.from(object));
  }

  error(error: StatusError): Buffer {
    const status = error.toStatus();
    const object = this.binary ? encodeKubernetesProtobuf(status)! : Buffer.from(JSON.stringify(status));
    return this.#frame("ERROR", object);
  }

  #frame(type: string, object: Buffer): Buffer {
    if (this.binary) return watchFrame(type, object);
    return Buffer.concat([Buffer.from(`{"type":"${type}","object":`), object, Buffer.from("}\n")]);
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

/** Writes a watch as a stream of frames. */
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
      response.setHeader("content-type", encoder.contentType);
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
    // Messages have a length of their own.
    const message = (frame: Buffer) =>
      encoder.binary ? frame.subarray(frameHeaderBytes) : frame.toString("utf8").trimEnd();
    for (const frame of frames) socket.send(message(frame));
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
