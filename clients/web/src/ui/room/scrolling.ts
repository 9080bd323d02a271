import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks'
import type { RefObject } from 'preact'

/** This close to the end counts as following it, in CSS pixels. */
const AT_END_PX = 48
/** Older messages are asked for when the reader comes this close to the oldest that are here. */
const NEAR_START_PX = 400

interface Watch {
  /** The oldest row; when it changes the reader's place is kept. */
  readonly firstKey: string
  /** Changes whenever something was added at the end. */
  readonly lastKey: string
  /** Changes with everything that may change the height, so that who follows the end stays there. */
  readonly version: unknown
  readonly onNearStart: () => void
}

/**
 * Scrolling of a list that grows at both ends: what comes at the end is followed by a reader who is there; what comes
 * at the start leaves the reader where they are.
 */
export function useScrolling(
  list: RefObject<HTMLElement | null>,
  watch: Watch,
): { atEnd: boolean; toEnd: () => void } {
  const [atEnd, setAtEnd] = useState(true)
  const following = useRef(true)
  const before = useRef({ firstKey: '', height: 0 })

  function toEnd(): void {
    const element = list.current
    if (element === null) return
    element.scrollTop = element.scrollHeight
    following.current = true
    setAtEnd(true)
  }

  useLayoutEffect(() => {
    const element = list.current
    if (element === null) return
    if (following.current) element.scrollTop = element.scrollHeight
    else if (watch.firstKey !== before.current.firstKey)
      element.scrollTop += element.scrollHeight - before.current.height
    before.current = { firstKey: watch.firstKey, height: element.scrollHeight }
  }, [watch.firstKey, watch.lastKey, watch.version])

  useEffect(() => {
    const element = list.current
    if (element === null) return
    const scrolled = () => {
      following.current = element.scrollHeight - element.scrollTop - element.clientHeight < AT_END_PX
      setAtEnd(following.current)
      if (element.scrollTop < NEAR_START_PX) watch.onNearStart()
    }
    // The list also becomes shorter and taller by itself: a phone's keyboard, a growing field, a loaded font.
    const resized = new ResizeObserver(() => {
      if (following.current) element.scrollTop = element.scrollHeight
    })
    element.addEventListener('scroll', scrolled, { passive: true })
    resized.observe(element)
    if (element.scrollHeight <= element.clientHeight) watch.onNearStart()
    return () => {
      element.removeEventListener('scroll', scrolled)
      resized.disconnect()
    }
  }, [watch.firstKey])

  return { atEnd, toEnd }
}
