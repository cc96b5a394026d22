import type { Round } from "./round.ts";

/** What many rounds came to, as it is kept in a file. */
export interface Tally {
  /** Decides the choices of all rounds, together with their numbers. */
  readonly seed: number;
  rounds: number;
  /** How often each kind of fault happened. */
  readonly faults: Record<string, number>;
  acknowledged: number;
  refused: number;
  /** Writes of which no client knew how they ended: the history told. */
  unknown: number;
  reads: number;
  /** Changes that watchers were to see, all watchers together. */
  watched: number;
  /** What was broken, a sentence each with its round. */
  readonly violations: string[];
}

export function emptyTally(seed: number): Tally {
  return { seed, rounds: 0, faults: {}, acknowledged: 0, refused: 0, unknown: 0, reads: 0, watched: 0, violations: [] };
}

export function addRound(tally: Tally, { faults, history, problems }: Round): void {
  const ended = (kind: string) => history.writes.filter(({ outcome }) => outcome.kind === kind).length;
  tally.acknowledged += ended("done");
  tally.refused += ended("refused");
  tally.unknown += ended("unknown");
  tally.reads += history.reads.length;
  tally.watched += history.watched.reduce((sum, { changes }) => sum + changes.length, 0);
  for (const { kind } of faults) tally.faults[kind] = (tally.faults[kind] ?? 0) + 1;
  tally.violations.push(...problems.map((problem) => `round ${tally.rounds}: ${problem}`));
  tally.rounds++;
}
