/**
 * What must hold in the program, whatever users and networks do, does not hold: a fault of the
 * program's, of which the stack is wanted.
 *
 * A TypeError, because errors of a program's own classes are plain ones when they come from another
 * thread, and those have messages made for users.
 */
export class InvariantError extends TypeError {}
