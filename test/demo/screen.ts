/**
 * What the demo shows while it runs: one line per phase, with a live counter on a terminal and plain
 * lines elsewhere. Writes to standard output only.
 */

/** Lines are laid out for this width, or for the terminal's if that is less. */
const MAX_WIDTH = 80;
const NAME_WIDTH = 10;

type Style = "bold" | "dim" | "green" | "red";
const codes: Readonly<Record<Style, number>> = { bold: 1, dim: 2, green: 32, red: 31 };

export class Screen {
  readonly isTerminal: boolean;
  readonly width: number;
  /** "µs", or "us" where the terminal may not know the letter. */
  readonly micro: string;
  readonly #hasColours: boolean;
  #lineIsOpen = false;

  constructor() {
    this.isTerminal = Deno.stdout.isTerminal();
    this.width = Math.min(MAX_WIDTH, this.isTerminal ? columns() : MAX_WIDTH);
    this.#hasColours = this.isTerminal && !Deno.env.get("NO_COLOR");
    const locale = Deno.env.get("LC_ALL") || Deno.env.get("LC_CTYPE") || Deno.env.get("LANG") || "";
    this.micro = /utf-?8/i.test(locale) || !this.isTerminal ? "µs" : "us";
  }

  style(style: Style, text: string): string {
    return this.#hasColours ? `\x1b[${codes[style]}m${text}\x1b[0m` : text;
  }

  /** Writes whole lines. */
  print(text = ""): void {
    this.endLine();
    write(text + "\n");
  }

  /** Writes a paragraph, wrapped; lines after the first begin with `indent`. */
  paragraph(text: string, indent = "", style?: Style): void {
    for (const line of wrap(text, this.width, indent)) {
      this.print(style === undefined ? line : this.style(style, line));
    }
  }

  /** Ends the line that is written over and over, if there is one. */
  endLine(): void {
    if (this.#lineIsOpen) write("\n");
    this.#lineIsOpen = false;
  }

  /** Writes over the line the cursor is in. Terminals only. */
  rewrite(line: string): void {
    write(`\r\x1b[K${line}`);
    this.#lineIsOpen = true;
  }

  /** Begins a phase. */
  phase(name: string, sinceMs = Date.now()): Phase {
    return new Phase(this, name, sinceMs);
  }
}

/** One line of what the demo does. */
export class Phase {
  readonly #screen: Screen;
  readonly #name: string;
  readonly #sinceMs: number;

  constructor(screen: Screen, name: string, sinceMs: number) {
    this.#screen = screen;
    this.#name = name;
    this.#sinceMs = sinceMs;
  }

  /** What goes on at the moment; seen on a terminal only. */
  update(text: string): void {
    if (!this.#screen.isTerminal) return;
    this.#screen.rewrite(this.#line(text, "dim"));
  }

  /** A step that may take long: elsewhere a line of its own. */
  step(text: string): void {
    if (this.#screen.isTerminal) this.update(text);
    else this.#screen.print(this.#name.padEnd(NAME_WIDTH) + text);
  }

  /** How it came out. */
  done(text: string, isGood = true): void {
    const line = this.#line(text, isGood ? undefined : "red");
    if (!this.#screen.isTerminal) return this.#screen.print(line);
    this.#screen.rewrite(line);
    this.#screen.endLine();
  }

  #line(text: string, style?: Style): string {
    const seconds = `${((Date.now() - this.#sinceMs) / 1000).toFixed(1)} s`;
    // The last column stays free: a cursor behind it would be on the next line.
    const room = this.#screen.width - 1 - NAME_WIDTH - seconds.length - 1;
    const cut = text.length > room ? `${text.slice(0, Math.max(0, room - 1))}~` : text;
    const padded = cut.padEnd(room);
    return this.#screen.style("bold", this.#name.padEnd(NAME_WIDTH)) +
      (style === undefined ? padded : this.#screen.style(style, padded)) + " " +
      this.#screen.style("dim", seconds);
  }
}

/** Breaks a text between words; lines after the first begin with `indent`. */
export function wrap(text: string, width: number, indent = ""): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && line.length + 1 + word.length >= width) {
      lines.push(line);
      line = indent + word;
    } else line += line === "" ? word : ` ${word}`;
  }
  return [...lines, line];
}

function columns(): number {
  try {
    return Deno.consoleSize().columns || MAX_WIDTH;
  } catch {
    return MAX_WIDTH; // a terminal that does not tell its size
  }
}

const encoder = new TextEncoder();

/** Whoever read our output may be gone (`| head`): the demo still cleans up after itself. */
function write(text: string): void {
  const bytes = encoder.encode(text);
  try {
    for (let at = 0; at < bytes.length;) at += Deno.stdout.writeSync(bytes.subarray(at));
  } catch (error) {
    if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
  }
}
