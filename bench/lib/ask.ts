/** One question, one answer, over a fork's channel; both sides take them strictly in turn. */
import type { Child } from './children.js'

export function firstMessage<T> (child: Child): Promise<T> {
  return new Promise((resolve, reject) => {
    const { process } = child
    const died = (): void => { reject(new Error(`a process of the benchmark ended: see ${child.log}`)) }
    process.once('exit', died)
    process.once('message', message => {
      process.off('exit', died)
      resolve(message as T)
    })
  })
}

export function ask<T> (child: Child, question: object): Promise<T> {
  const answer = firstMessage<T>(child)
  child.process.send(question)
  return answer
}
