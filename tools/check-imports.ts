/**
 * Holds the direction of imports: which room of `src/` may import which, as docs/architecture.md says. Part of
 * `npm run lint`.
 */
import { globSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";

/** `types`: rooms of which only types may be imported. "everything" and "nothing" as the table has them. */
interface Rule {
  allowed: ReadonlySet<string> | "everything";
  types: ReadonlySet<string>;
}

/** Reads the table of rooms: one row a room, `| \`room/\` | … | room, room (types) |`. */
export function readRules(architecture: string): Map<string, Rule> {
  const rules = new Map<string, Rule>();
  for (const line of architecture.split("\n")) {
    const cells = line.split("|").map((cell) => cell.trim());
    if (cells.length !== 5 || !cells[1]?.startsWith("`")) continue;
    const imports = cells[3] ?? "";
    const names = imports.split(",").map((name) => name.trim());
    const types = names.filter((name) => name.endsWith("(types)")).map((name) => name.replace("(types)", "").trim());
    const rooms = names.filter((name) => !name.endsWith("(types)"));
    for (const [, room] of cells[1].matchAll(/`([^`]+?)\/?`/g)) {
      if (!room) continue;
      if (imports === "everything") rules.set(room, { allowed: "everything", types: new Set() });
      // "the above": the rooms that the table has before this one, without the command line's.
      else if (imports === "the above") {
        const above = [...rules].filter(([, rule]) => rule.allowed !== "everything").map(([name]) => name);
        rules.set(room, { allowed: new Set(above), types: new Set() });
      } else rules.set(room, { allowed: new Set(imports === "nothing of ours" ? [] : rooms), types: new Set(types) });
    }
  }
  return rules;
}

interface Import {
  target: string;
  typeOnly: boolean;
}

/** The relative imports of a TypeScript text, static and dynamic. */
export function readImports(text: string): Import[] {
  const imports: Import[] = [];
  const statement = /^\s*(?:import|export)\s+(type\s+)?(?:[^"';]*?\sfrom\s+)?"(\.[^"]+)"/gm;
  for (const [, type, target] of text.matchAll(statement))
    imports.push({ target: target!, typeOnly: type !== undefined });
  for (const [, target] of text.matchAll(/(?<![\w.])import\("(\.[^"]+)"\)/g))
    imports.push({ target: target!, typeOnly: false });
  return imports;
}

/** Gives back one line for each import that the rules forbid. */
export function findViolations(files: ReadonlyMap<string, string>, rules: ReadonlyMap<string, Rule>): string[] {
  const violations: string[] = [];
  for (const [file, text] of files) {
    const room = roomOf(file);
    const rule = rules.get(room);
    if (!rule) {
      violations.push(`${file}: add a row for "${room}" to the table of rooms in docs/architecture.md`);
      continue;
    }
    for (const { target, typeOnly } of readImports(text)) {
      const path = normalize(join(dirname(file), target));
      if (!path.startsWith("src/")) {
        violations.push(`${file}: imports "${target}", which is outside src/`);
        continue;
      }
      const other = roomOf(path);
      if (other === room || rule.allowed === "everything" || rule.allowed.has(other)) continue;
      if (typeOnly && rule.types.has(other)) continue;
      const wanted = [...rule.allowed, ...[...rule.types].map((name) => `${name} (types)`)].join(", ");
      violations.push(`${file}: imports "${target}" from ${other}; ${room} may import: ${wanted || "nothing of ours"}`);
    }
  }
  return violations;
}

/** "src/store/sqlite/worker.ts" is of the room "store"; "src/main.ts" is a room by itself. */
function roomOf(file: string): string {
  return file.split("/")[1] ?? "";
}

if (import.meta.main) {
  const root = dirname(dirname(fileURLToPath(import.meta.url)));
  const rules = readRules(readFileSync(join(root, "docs/architecture.md"), "utf8"));
  const files = new Map(
    globSync("src/**/*.ts", { cwd: root }).map((file) => [file, readFileSync(join(root, file), "utf8")] as const),
  );
  const violations = findViolations(files, rules);
  for (const line of violations) console.error(line);
  if (violations.length > 0) process.exitCode = 1;
}
