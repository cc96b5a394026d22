import type { ResourceFacts } from "../api/resource.ts";

/** Which resources are served now. Built-in ones stay; custom ones come and go. */
export class ResourceTable {
  readonly #byKey = new Map<string, ResourceFacts>();
  readonly #listeners = new Set<() => void>();
  #generation = 0;

  constructor(builtIn: readonly ResourceFacts[]) {
    for (const facts of builtIn) this.#byKey.set(keyOf(facts.group, facts.version, facts.resource), facts);
  }

  find(group: string, version: string, resource: string): ResourceFacts | undefined {
    return this.#byKey.get(keyOf(group, version, resource));
  }

  all(): readonly ResourceFacts[] {
    return [...this.#byKey.values()];
  }

  /** Rises with every change; documents made from the table are good for one generation. */
  get generation(): number {
    return this.#generation;
  }

  /** Replaces some resources by others in one step. */
  replace(remove: readonly ResourceFacts[], add: readonly ResourceFacts[]): void {
    for (const facts of remove) this.#byKey.delete(keyOf(facts.group, facts.version, facts.resource));
    for (const facts of add) this.#byKey.set(keyOf(facts.group, facts.version, facts.resource), facts);
    this.#generation++;
    for (const tell of this.#listeners) tell();
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}

function keyOf(group: string, version: string, resource: string): string {
  return `${group}/${version}/${resource}`;
}
