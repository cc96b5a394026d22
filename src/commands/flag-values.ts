import { existsSync, globSync, readFileSync } from "node:fs";
import { Command, Option } from "commander";
import { parse as parseYaml } from "yaml";
import { ConfigurationError } from "../machinery/configuration-error.ts";
import type { Flag } from "./flags.ts";

/** The settled values of a subcommand's flags: command line, then config file, then environment, then default. */
export interface FlagValues {
  string(name: string): string | undefined;
  boolean(name: string): boolean;
  integer(name: string): number | undefined;
  /** Repeated and comma-joined values, one an element. */
  list(name: string): string[];
  /** Arguments that belong to no flag, where the subcommand takes any. */
  readonly operands: readonly string[];
}

type Raw = string | boolean | string[];

/**
 * Reads a subcommand's command line, with its config files and environment.
 * @param options.operands does the subcommand take arguments that belong to no flag?
 * @throws ConfigurationError naming the flag, its value and the remedy
 */
export function readFlags(
  program: string,
  flags: readonly Flag[],
  args: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
  warn: (message: string) => void,
  options: { readonly operands?: boolean } = {},
): FlagValues {
  const { given, operands } = parseArguments(program, flags, args, options.operands ?? false);
  const configPath = environment["K3S_CONFIG_FILE"] ?? given.get("config");
  const configured = readConfigFiles(flags, configPath as string | undefined, warn);
  const values = new Map<string, Raw>();
  for (const flag of flags) {
    const fromEnvironment = flag.env === undefined ? undefined : environment[flag.env];
    const value = given.get(flag.name) ?? configured.get(flag.name) ?? (fromEnvironment || undefined) ?? flag.default;
    if (value === undefined) continue;
    refuse(flag, value);
    values.set(flag.name, value);
  }
  const asBoolean = (name: string): boolean => {
    const value = values.get(name) ?? false;
    if (value === true || value === "true" || value === "1") return true;
    if (value === false || value === "false" || value === "0" || value === "") return false;
    throw new ConfigurationError(`invalid value "${String(value)}" for --${name}: use true or false`);
  };
  return {
    string: (name) => {
      const value = values.get(name);
      return value === undefined ? undefined : Array.isArray(value) ? value.at(-1) : String(value);
    },
    boolean: asBoolean,
    integer: (name) => {
      const value = values.get(name);
      if (value === undefined) return undefined;
      if (!/^\d+$/.test(String(value))) {
        throw new ConfigurationError(`invalid value "${String(value)}" for --${name}: use a whole number`);
      }
      return Number(value);
    },
    list: (name) => {
      const value = values.get(name);
      if (value === undefined) return [];
      return (Array.isArray(value) ? value : [String(value)])
        .flatMap((item) => item.split(","))
        .map((item) => item.trim())
        .filter(Boolean);
    },
    operands,
  };
}

/** A known flag that cannot be honoured is an error; set to nothing, to false or to what is so anyway, it is none. */
function refuse(flag: Flag, value: Raw): void {
  if (flag.refused === undefined || value === flag.default || String(value) === "") return;
  if (flag.type === "boolean" && (value === false || value === "false" || value === "0")) return;
  if (flag.harmless?.includes(String(value))) return;
  throw new ConfigurationError(
    `--${flag.name} is ${flag.refused}; remove it${flag.env ? ` (or the variable ${flag.env})` : ""}`,
  );
}

function parseArguments(
  program: string,
  flags: readonly Flag[],
  args: readonly string[],
  takesOperands: boolean,
): { given: Map<string, Raw>; operands: readonly string[] } {
  const command = new Command(program).exitOverride().configureOutput({ writeErr: () => {}, outputError: () => {} });
  if (takesOperands) command.argument("[names...]");
  command.allowExcessArguments(takesOperands);
  for (const flag of flags) {
    const names = `${flag.short ? `-${flag.short}, ` : ""}${flag.name.length === 1 ? "-" : "--"}${flag.name}`;
    const option = new Option(flag.type === "boolean" ? `${names} [value]` : `${names} <value>`, helpOf(flag));
    if (flag.hidden) option.hideHelp();
    if (flag.type === "list") option.argParser((value: string, list: string[] | undefined) => [...(list ?? []), value]);
    command.addOption(option);
  }
  try {
    command.parse(joinBooleans(flags, args), { from: "user" });
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    if (code === "commander.helpDisplayed" || code === "commander.help") throw error;
    throw new ConfigurationError(`${message.replace(/^error: /, "")}; see ${program} --help`);
  }
  const values = new Map<string, Raw>();
  const parsed = command.opts<Record<string, Raw>>();
  command.options.forEach((option, index) => {
    const value = parsed[option.attributeName()];
    const flag = flags[index];
    if (value !== undefined && flag) values.set(flag.name, value);
  });
  return { given: values, operands: command.args };
}

/** Go's flags take a boolean's value only as `--flag=value`; a word that follows is an argument of its own. */
function joinBooleans(flags: readonly Flag[], args: readonly string[]): string[] {
  const booleans = new Set(flags.filter((flag) => flag.type === "boolean").map((flag) => `--${flag.name}`));
  return args.map((argument) => (booleans.has(argument) ? `${argument}=true` : argument));
}

function helpOf(flag: Flag): string {
  const notes = [
    ...(flag.default ? [`default: ${flag.default}`] : []),
    ...(flag.env ? [`env: ${flag.env}`] : []),
    ...(flag.refused ? [flag.refused] : []),
  ];
  return notes.length > 0 ? `${flag.help} (${notes.join("; ")})` : flag.help;
}

/** The config file and its drop-ins (`<file>.d/*.yaml`), later ones winning; `key+` appends to what earlier ones hold. */
function readConfigFiles(
  flags: readonly Flag[],
  explicitPath: string | undefined,
  warn: (message: string) => void,
): Map<string, Raw> {
  const path = explicitPath ?? flags.find((flag) => flag.name === "config")?.default;
  const values = new Map<string, Raw>();
  if (path === undefined) return values;
  if (/^https?:/.test(path)) {
    throw new ConfigurationError(
      `cannot load configuration from "${path}": only files are supported by this version of k3ts`,
    );
  }
  if (!existsSync(path) && explicitPath !== undefined) {
    throw new ConfigurationError(`configuration file "${path}" does not exist; create it, or leave --config out`);
  }
  const files = [...(existsSync(path) ? [path] : []), ...globSync(`${path}.d/*.yaml`).sort()];
  for (const file of files) {
    let document: unknown;
    try {
      document = parseYaml(readFileSync(file, "utf8"));
    } catch (error) {
      throw new ConfigurationError(`cannot parse configuration file "${file}": ${(error as Error).message}`);
    }
    if (document === null) continue;
    if (typeof document !== "object" || Array.isArray(document)) {
      throw new ConfigurationError(`configuration file "${file}" must hold a map of flag names to values`);
    }
    for (const [key, value] of Object.entries(document)) {
      const append = key.endsWith("+");
      const name = append ? key.slice(0, -1) : key;
      const flag = flags.find((candidate) => candidate.name === name || candidate.short === name);
      if (!flag) {
        warn(`Unknown flag --${name} found in ${file}, skipping`);
        continue;
      }
      const texts = (Array.isArray(value) ? value : [value]).map(String);
      const before = values.get(flag.name);
      const kept = append && before !== undefined ? (Array.isArray(before) ? before : [String(before)]) : [];
      values.set(flag.name, flag.type === "list" ? [...kept, ...texts] : (texts.at(-1) ?? ""));
    }
  }
  return values;
}
