/** The version all programs report. */
export const VERSION = "0.1.0";
