import { type EndpointSlice, endpointSlices } from "../../api/generated/discovery-v1.ts";
import type { Client } from "../../client/client.ts";
import type { DeepReadonly } from "../../machinery/object.ts";
import { StatusError } from "../../machinery/status.ts";
import type { Expectations } from "./expectations.ts";
import { mutable } from "./owned.ts";
import { isNamespaceTerminating } from "./pod-control.ts";

type SliceBody = Pick<EndpointSlice, "addressType" | "ports" | "endpoints">;

/** Writes the EndpointSlices that a controller keeps, and notes by their owner's key what its informer has to show then. */
export class SliceWriter {
  readonly #client: Client;
  readonly #expectations: Expectations;

  constructor(client: Client, expectations: Expectations) {
    this.#client = client;
    this.#expectations = expectations;
  }

  /** Does nothing in a namespace that is being deleted. */
  async create(
    key: string,
    metadata: EndpointSlice["metadata"],
    content: DeepReadonly<SliceBody>,
    signal: AbortSignal,
  ): Promise<void> {
    this.#expectations.expectCreations(key, 1);
    try {
      const { namespace = "" } = metadata;
      await this.#client.create(endpointSlices, { metadata, ...bodyOf(content) }, { namespace, signal });
    } catch (error) {
      this.#expectations.creationObserved(key);
      if (!isNamespaceTerminating(error)) throw error;
    }
  }

  /** Gives a slice other content; of its metadata what is given. */
  async update(
    slice: DeepReadonly<EndpointSlice>,
    metadata: EndpointSlice["metadata"],
    content: DeepReadonly<SliceBody>,
    signal: AbortSignal,
  ): Promise<void> {
    const old = mutable<EndpointSlice>(slice);
    const next = { ...old, ...bodyOf(content), metadata: { ...old.metadata, ...metadata } };
    await this.#client.update(endpointSlices, next, { signal });
  }

  /** One that is gone, or another by now, is as well. */
  async remove(key: string, { metadata }: DeepReadonly<EndpointSlice>, signal: AbortSignal): Promise<void> {
    const { name = "", namespace = "", uid = "" } = metadata;
    this.#expectations.expectDeletions(key, [uid]);
    try {
      await this.#client.delete(endpointSlices, name, { namespace, preconditions: { uid }, signal });
    } catch (error) {
      this.#expectations.deletionObserved(key, uid);
      if (!(error instanceof StatusError && (error.code === 404 || error.code === 409))) throw error;
    }
  }
}

function bodyOf({ addressType, ports, endpoints }: DeepReadonly<SliceBody>): SliceBody {
  return structuredClone({ addressType, ports: ports ?? [], endpoints }) as SliceBody;
}
