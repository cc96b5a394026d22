/** What a namespace's labels demand of its pods. */
import { type FieldError, fieldError } from "../../../machinery/status.ts";

/** From the least to the most strict. */
const levels = ["privileged", "baseline", "restricted"] as const;

export type Level = (typeof levels)[number];

/** A level, by the rules of one minor version of Kubernetes: 25 is v1.25. */
export interface LevelVersion {
  readonly level: Level;
  readonly minor: number | "latest";
}

export interface Policy {
  /** Pods that violate it are refused. */
  readonly enforce: LevelVersion;
  /** Violations are noted in the audit log. */
  readonly audit: LevelVersion;
  /** Who asks is warned. */
  readonly warn: LevelVersion;
}

const labelPrefix = "pod-security.kubernetes.io/";
const open: LevelVersion = { level: "privileged", minor: "latest" };

/** What holds where no label says anything. */
const defaultPolicy: Policy = { enforce: open, audit: open, warn: open };

/** "restricted:latest", "baseline:v1.25". */
export function textOf({ level, minor }: LevelVersion): string {
  return `${level}:${minor === "latest" ? minor : `v1.${minor}`}`;
}

/** Negative when `a` demands less than `b`, positive when it demands more. */
export function compareLevels(a: Level, b: Level): number {
  return levels.indexOf(a) - levels.indexOf(b);
}

export function isSame(a: LevelVersion, b: LevelVersion): boolean {
  return a.level === b.level && a.minor === b.minor;
}

/** Does it let everything pass in silence? */
export function asksNothing({ enforce, audit, warn }: Policy): boolean {
  return [enforce, audit, warn].every(({ level }) => level === "privileged");
}

/**
 * Reads the labels. There is a policy also where a label is wrong: what enforces is then as strict as can be, what only
 * reports is off, and a wrong version is the latest.
 */
export function readPolicy(labels: Readonly<Record<string, string>> = {}): { policy: Policy; errors: FieldError[] } {
  const errors: FieldError[] = [];
  const wrong = (label: string, why: string) =>
    errors.push(fieldError.invalid(`metadata.labels[${label}]`, labels[label], why));

  const read = (mode: keyof Policy, levelInDoubt: Level): LevelVersion => {
    let { level, minor } = defaultPolicy[mode];
    const levelLabel = labelPrefix + mode;
    const wanted = labels[levelLabel];
    if (wanted !== undefined) {
      const known = levels.find((one) => one === wanted);
      if (!known) wrong(levelLabel, `must be one of ${levels.join(", ")}`);
      level = known ?? levelInDoubt;
    }
    const versionLabel = `${levelLabel}-version`;
    const version = labels[versionLabel];
    if (version !== undefined) {
      const digits = /^v1\.(0|[1-9][0-9]{0,8})$/.exec(version)?.[1];
      if (digits === undefined && version !== "latest") wrong(versionLabel, 'must be "latest" or "v1.x"');
      minor = digits === undefined ? "latest" : Number(digits);
    }
    return { level, minor };
  };

  const enforce = read("enforce", "restricted");
  const enforceIsWrong = errors.some(({ field }) => field === `metadata.labels[${labelPrefix}enforce]`);
  const audit = read("audit", "privileged");
  let warn = read("warn", "privileged");
  // Whoever enforces a level wants to hear of workloads that will not get their pods.
  const silent = labels[`${labelPrefix}warn`] === undefined && !enforceIsWrong;
  if (silent && labels[`${labelPrefix}enforce`] !== undefined && compareLevels(enforce.level, warn.level) > 0) {
    warn = {
      level: enforce.level,
      minor: labels[`${labelPrefix}warn-version`] === undefined ? enforce.minor : warn.minor,
    };
  }
  return { policy: { enforce, audit, warn }, errors };
}
