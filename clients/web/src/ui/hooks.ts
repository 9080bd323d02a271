import { useEffect, useLayoutEffect, useState } from 'preact/hooks'
import type { Store } from '../state/store'

/** What a store holds now; the component is drawn again when it was replaced. */
export function useStore<T>(store: Store<T>): T {
  const [value, setValue] = useState(store.get())
  useEffect(() => {
    const take = () => setValue(store.get())
    take()
    return store.subscribe(take)
  }, [store])
  return value
}

export function useWindowEvent(name: keyof WindowEventMap, listener: (event: Event) => void): void {
  useEffect(() => {
    window.addEventListener(name, listener)
    return () => window.removeEventListener(name, listener)
  }, [name, listener])
}

/** Put the focus on an element that has just appeared because the user asked for it. */
export function useFocusWhenShown(element: { readonly current: HTMLElement | null }): void {
  useLayoutEffect(() => element.current?.focus(), [element])
}
