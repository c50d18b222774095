export const DEFAULT_CONFIG = 'config/valet.yaml'
