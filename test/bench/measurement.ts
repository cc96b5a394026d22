/** One measured thing: every sample of it, what it may be at most, and what the same machine did in the same run. */
export interface Figure {
  readonly what: string;
  /** Empty: a number of things. */
  readonly unit: "s" | "ms" | "%" | "MB" | "kB/s" | "/s" | "";
  /** Never empty. The table shows their median; `worst` shows the highest. */
  readonly samples: readonly number[];
  /** What the median may be at most. */
  readonly budget?: number;
  /** A plain thing of the same sort, measured in the same run: only the ratio means anything on another machine. */
  readonly yardstick?: { readonly what: string; readonly samples: readonly number[] };
  /** What the median may be in relation to the yardstick's. */
  readonly ratio?: { readonly atLeast: number } | { readonly atMost: number };
}

export interface Measured {
  readonly figures: readonly Figure[];
  /** Lines that say what the figures are made of. */
  readonly notes?: readonly string[];
  /** What `--write` puts into a document of docs/ between its marks of this name, beside the figures' own page. */
  readonly section?: { readonly file: string; readonly name: string; readonly text: string };
}

/** What is built before something is measured; "platforms": the images of all architectures. */
export type Need = "images" | "bundle" | "platforms" | "databases";

/** A file of this folder: what it is called on the command line, and how it is run. */
export interface Measurement {
  readonly name: string;
  /** Default: the images. */
  readonly needs?: readonly Need[];
  /** It takes hours, and is not for a run that names none. */
  readonly onlyWhenNamed?: boolean;
  /** Measures; removes all that it made. `say` is told what goes on. */
  run(say: (line: string) => void): Promise<Measured>;
}

/** The middle of the samples. Throws when there are none. */
export function median(samples: readonly number[]): number {
  if (samples.length === 0) throw new Error("a median needs samples");
  const sorted = [...samples].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

const header = ["", "median", "range", "budget", "yardstick", "ratio"] as const;

/** The rows of the table; the first is its head. */
export function tableOf(figures: readonly Figure[]): string[][] {
  const rows = figures.map((figure) => {
    const { what, unit, samples, yardstick } = figure;
    const value = median(samples);
    const beside = yardstick && median(yardstick.samples);
    const range = samples.length > 1 ? `${number(Math.min(...samples))}–${number(Math.max(...samples))}` : "";
    return [
      what,
      quantity(value, unit),
      range,
      budgetOf(figure),
      yardstick ? `${quantity(beside!, unit)} ${yardstick.what}` : "",
      beside ? `${number(value / beside)}×` : "",
    ];
  });
  return [[...header], ...rows];
}

/** The budget in words; "OVER" or "UNDER" where it is not kept. */
function budgetOf(figure: Figure): string {
  const { unit, budget, ratio } = figure;
  const kept = within(figure);
  const parts: string[] = [];
  if (budget !== undefined) parts.push(`${kept ? "≤" : "OVER"} ${quantity(budget, unit)}`);
  if (ratio && "atLeast" in ratio) parts.push(`${kept ? "≥" : "UNDER"} ${number(ratio.atLeast)}×`);
  if (ratio && "atMost" in ratio) parts.push(`${kept ? "≤" : "OVER"} ${number(ratio.atMost)}×`);
  return parts.join(", ");
}

/** Whether a figure is within its budget; one without a budget is. */
export function within({ samples, budget, yardstick, ratio }: Figure): boolean {
  const value = median(samples);
  if (budget !== undefined && value > budget) return false;
  if (!ratio || !yardstick) return true;
  const found = value / median(yardstick.samples);
  return "atLeast" in ratio ? found >= ratio.atLeast : found <= ratio.atMost;
}

const quantity = (value: number, unit: string) => `${number(value)} ${unit}`.trimEnd();

/** Three significant digits, without a tail of zeros. */
function number(value: number): string {
  return Math.abs(value) >= 100 ? value.toFixed(0) : String(Number(value.toPrecision(3)));
}
