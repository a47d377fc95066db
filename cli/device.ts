// From "auto" to what this machine has.
export interface DeviceSettings {
  device: string;
  dtype: 'auto' | 'fp32' | 'bf16';
}

export async function chooseDevice(settings: DeviceSettings): Promise<{ device: string; dtype: 'fp32' | 'bf16' }> {
  const { runtimeInfo } = await import('../binding/index.js');
  let device = settings.device;
  if (device === 'auto') {
    const info = runtimeInfo();
    device = info.cudaBuilt && info.gpus.length > 0 && !info.cudaError ? 'cuda' : 'cpu';
  }
  return { device, dtype: settings.dtype === 'auto' ? (device === 'cpu' ? 'fp32' : 'bf16') : settings.dtype };
}
