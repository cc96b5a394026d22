/** One measured thing: every sample of it, what it may be at most, and what the same machine did in the same run. */
export interface Figure {
  readonly what: string;
  readonly unit: "s" | "ms" | "%" | "MB" | "kB/s" | "/s";
  /** Never empty. The table shows their median; `worst` shows the highest. */
  readonly samples: readonly number[];
  /** What the median may be at most. */
  readonly budget?: number;
  /** A plain thing of the same sort, measured in the same run: only the ratio means anything on another machine. */
  readonly yardstick?: { readonly what: string; readonly samples: readonly number[] };
}

export interface Measured {
  readonly figures: readonly Figure[];
  /** Lines that say what the figures are made of. */
  readonly notes?: readonly string[];
}

/** A file of this folder: what it is called on the command line, and how it is run. */
export interface Measurement {
  readonly name: string;
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
  const rows = figures.map(({ what, unit, samples, budget, yardstick }) => {
    const value = median(samples);
    const beside = yardstick && median(yardstick.samples);
    const range = samples.length > 1 ? `${number(Math.min(...samples))}–${number(Math.max(...samples))}` : "";
    return [
      what,
      `${number(value)} ${unit}`,
      range,
      budget === undefined ? "" : `${value <= budget ? "≤" : "OVER"} ${number(budget)} ${unit}`,
      yardstick ? `${number(beside!)} ${unit} ${yardstick.what}` : "",
      beside ? `${number(value / beside)}×` : "",
    ];
  });
  return [[...header], ...rows];
}

/** Whether a figure is within its budget; one without a budget is. */
export function within({ samples, budget }: Figure): boolean {
  return budget === undefined || median(samples) <= budget;
}

/** Three significant digits, without a tail of zeros. */
function number(value: number): string {
  return Math.abs(value) >= 100 ? value.toFixed(0) : String(Number(value.toPrecision(3)));
}
