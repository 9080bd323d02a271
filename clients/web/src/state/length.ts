/** Whether a text has more than `most` code points as the service stores it, which is after NFC. */
export function isLonger(text: string, most: number): boolean {
  let count = 0
  for (const _ of text.normalize('NFC')) if (++count > most) return true
  return false
}
