/** The proxy's table as data, and the nftables text that makes the kernel's table equal to it. */

export const proxyTable = "k3ts";

export interface Chain {
  /** "type nat hook prerouting priority dstnat; policy accept;" for a base chain; absent for one that is jumped to. */
  readonly hook?: string;
  readonly rules: readonly string[];
}

export interface NftSet {
  readonly kind: "set" | "map";
  /** "type ipv4_addr; flags dynamic,timeout; timeout 10800s;". */
  readonly spec: string;
  /** Element → its value ("" in a set). Absent: the kernel's rules fill it, and it is left alone. */
  readonly elements?: ReadonlyMap<string, string>;
}

export interface Ruleset {
  readonly chains: ReadonlyMap<string, Chain>;
  readonly sets: ReadonlyMap<string, NftSet>;
}

const nothing: Ruleset = { chains: new Map(), sets: new Map() };

/** Text that replaces whatever the table holds, in one transaction. */
export function renderWhole(ruleset: Ruleset): string {
  const fresh = [`add table ip ${proxyTable}`, `delete table ip ${proxyTable}`, `add table ip ${proxyTable}`];
  return `${[...fresh, ...changes(nothing, ruleset)].join("\n")}\n`;
}

/** Text that turns a table that holds `old` into one that holds `next`, in one transaction; "" when they are equal. */
export function renderChange(old: Ruleset, next: Ruleset): string {
  const lines = changes(old, next);
  return lines.length ? `${lines.join("\n")}\n` : "";
}

/** Ordered so that whatever a line names is there: new things first, then what uses them, then what is no longer used. */
function changes(old: Ruleset, next: Ruleset): string[] {
  const table = `ip ${proxyTable}`;
  const created: string[] = [];
  const filled: string[] = [];
  const removed: string[] = [];

  for (const [name, chain] of next.chains) {
    const present = old.chains.get(name);
    if (!present) created.push(`add chain ${table} ${name}${chain.hook ? ` { ${chain.hook} }` : ""}`);
    else if (equalRules(present.rules, chain.rules)) continue;
    else filled.push(`flush chain ${table} ${name}`);
    for (const rule of chain.rules) filled.push(`add rule ${table} ${name} ${rule}`);
  }
  for (const [name, set] of next.sets) {
    const present = old.sets.get(name);
    if (!present) created.push(`add ${set.kind} ${table} ${name} { ${set.spec} }`);
    if (!set.elements) continue;
    const before = present?.elements ?? new Map<string, string>();
    const gone = [...before].filter(([key, value]) => set.elements?.get(key) !== value).map(([key]) => key);
    const added = [...set.elements].filter(([key, value]) => before.get(key) !== value);
    // Old elements first, or a changed one would be there twice.
    if (gone.length) filled.push(`delete element ${table} ${name} { ${gone.join(", ")} }`);
    if (added.length) {
      const texts = added.map(([key, value]) => (value ? `${key} : ${value}` : key));
      filled.push(`add element ${table} ${name} { ${texts.join(", ")} }`);
    }
  }
  const goneChains = [...old.chains.keys()].filter((name) => !next.chains.has(name));
  // Chains may jump to one another: all are emptied before the first is deleted.
  for (const name of goneChains) removed.push(`flush chain ${table} ${name}`);
  for (const name of goneChains) removed.push(`delete chain ${table} ${name}`);
  for (const [name, set] of old.sets) if (!next.sets.has(name)) removed.push(`delete ${set.kind} ${table} ${name}`);
  return [...created, ...filled, ...removed];
}

function equalRules(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((rule, i) => rule === b[i]);
}
