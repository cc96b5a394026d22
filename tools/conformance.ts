/**
 * Makes docs/conformance.md: every conformance test of the release, and whether a test of ours holds it. The tests say so
 * themselves, by `conformance("…")` and `holds("…")`, so the document cannot claim more than what runs.
 *
 * `npm run conformance` writes it; `--check` fails when it is not what this would write (the stage lint does that).
 */
import { globSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { ConformanceFact } from "../test/conformance/conformance.ts";

const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** Which file holds which conformance test. Throws when a file names one that is none, or two name the same one. */
export function findHeld(files: ReadonlyMap<string, string>, known: ReadonlySet<string>): Map<string, string> {
  const held = new Map<string, string>();
  for (const [file, text] of files) {
    for (const name of readNames(file, text)) {
      if (!known.has(name))
        throw new Error(`${file}: name a conformance test of v1.36: ${JSON.stringify(name)} is none.`);
      const other = held.get(name);
      if (other) throw new Error(`${file}: hold a conformance test once: ${other} has ${JSON.stringify(name)}, too.`);
      held.set(name, file);
    }
  }
  return held;
}

/** The names that a test file's calls of `conformance` and `holds` begin with. Throws for a name it cannot read. */
function readNames(file: string, text: string): string[] {
  const constants = new Map<string, string>();
  for (const [, name, value] of text.matchAll(/^const (\w+) =\s+"([^"\n]*)";$/gm)) constants.set(name!, value!);
  // Calls stand alone at the beginning of a line: what a comment says is not one.
  const call = /^ *(?:conformance|holds)\(\s*/gm;
  const literal = /("(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')|`((?:[^`\\]|\\.)*)`/y;
  const names: string[] = [];
  while (call.exec(text)) {
    literal.lastIndex = call.lastIndex;
    const [, quoted, template] = literal.exec(text) ?? [];
    if (quoted?.startsWith('"')) names.push(JSON.parse(quoted));
    else if (quoted !== undefined) names.push(quoted.slice(1, -1).replace(/\\(.)/g, "$1"));
    else if (template !== undefined) {
      const filled = template.replace(/\$\{(\w+)\}/g, (whole, name: string) => constants.get(name) ?? whole);
      names.push(filled.replace(/\\(.)/g, "$1"));
    } else throw new Error(`${file}: name the conformance test in the call itself, at character ${call.lastIndex}.`);
  }
  return names;
}

/** The whole document. */
export function render(facts: readonly ConformanceFact[], held: ReadonlyMap<string, string>): string {
  const state = ({ codename, needs }: ConformanceFact): "holds" | "needs a node" | "not yet" => {
    if (held.has(codename)) return "holds";
    return needs === "node" ? "needs a node" : "not yet";
  };
  const count = (wanted: string, of = facts) => String(of.filter((fact) => state(fact) === wanted).length);
  const sections = new Map<string, ConformanceFact[]>();
  for (const fact of facts) {
    const section = `${sigOf(fact)}: ${fact.area.replaceAll("-", " ")}`;
    sections.set(section, [...(sections.get(section) ?? []), fact]);
  }
  const lines = [
    "# The conformance tests of Kubernetes v1.36",
    "",
    `Kubernetes v1.36 has ${facts.length} conformance tests. Tests of this repository, named by the conformance test that`,
    "each of them holds, run with `npm test`. This page is made from those names by `npm run conformance`.",
    "",
    "| state | meaning | tests |",
    "| --- | --- | ---: |",
    `| holds | a test here checks what the conformance test checks | ${count("holds")} |`,
    `| needs a node | containers have to run for it, and no test here does that yet | ${count("needs a node")} |`,
    `| not yet | neither | ${count("not yet")} |`,
    "",
    "| group | holds | needs a node | not yet |",
    "| --- | ---: | ---: | ---: |",
  ];
  for (const sig of [...new Set(facts.map(sigOf))]) {
    const of = facts.filter((fact) => sigOf(fact) === sig);
    lines.push(`| ${sig} | ${count("holds", of)} | ${count("needs a node", of)} | ${count("not yet", of)} |`);
  }
  for (const [section, of] of sections) {
    lines.push("", `## ${section}`, "", "| test | since | state |", "| --- | --- | --- |");
    for (const fact of of) {
      const file = held.get(fact.codename);
      const where = file ? `holds ([${file.replace(/^test\//, "")}](../${file}))` : state(fact);
      const name = fact.codename.slice(sigOf(fact).length + 3).replace(/ ?\[Conformance\]/, "");
      lines.push(`| ${name.replace(/([|<>*`])/g, "\\$1")} | ${fact.since} | ${where} |`);
    }
  }
  return `${lines.join("\n")}\n`;
}

function sigOf({ codename }: ConformanceFact): string {
  return /^\[(sig-[a-z-]+)\]/.exec(codename)?.[1] ?? "other";
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const facts: ConformanceFact[] = JSON.parse(readFileSync(join(root, "test/conformance/conformance.json"), "utf8"));
  const paths = globSync("test/{conformance,e2e}/**/*.test.ts", { cwd: root }).sort();
  const files = new Map(paths.map((path) => [path, readFileSync(join(root, path), "utf8")]));
  const document = render(facts, findHeld(files, new Set(facts.map(({ codename }) => codename))));
  const target = join(root, "docs/conformance.md");
  if (!process.argv.includes("--check")) writeFileSync(target, document);
  else if (readFileSync(target, "utf8") !== document) {
    console.error("docs/conformance.md is not what the tests say. Run: npm run conformance");
    process.exitCode = 1;
  }
}
